package scenario

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A parked fetch has to be answered within this of the append.
const wakeMax = 250 * time.Millisecond

var scenarios = []scenario{
	{"create-describe-delete-topic", createDescribeDelete},
	{"acks-0", func(r *run) error { return r.roundTrip(ProducerOptions{Acks: AcksNone}, values(20, "a0")) }},
	{"acks-1", func(r *run) error { return r.roundTrip(ProducerOptions{Acks: AcksLeader}, values(20, "a1")) }},
	{"acks-all", func(r *run) error { return r.roundTrip(ProducerOptions{Acks: AcksAll}, values(20, "all")) }},
	{"codec-none", codec("none")},
	{"codec-gzip", codec("gzip")},
	{"codec-snappy", codec("snappy")},
	{"codec-lz4", codec("lz4")},
	{"codec-zstd", codec("zstd")},
	{"headers", headers},
	{"null-key-value", nullKeyValue},
	{"record-1mb", record1MB},
	{"idempotent", func(r *run) error {
		return r.roundTrip(ProducerOptions{Acks: AcksAll, Idempotent: true}, values(1000, "once"))
	}},
	{"batches-1-to-10000", batches},
	{"read-from-start", readFromStart},
	{"read-from-end", readFromEnd},
	{"read-from-offset", readFromOffset},
	{"read-from-timestamp", readFromTimestamp},
	{"long-poll-latency", longPollLatency},
	{"many-partitions", manyPartitions},
	{"delete-and-recreate", deleteAndRecreate},
	{"reconnect", reconnect},
}

func values(count int, prefix string) []Record {
	records := make([]Record, count)
	for i := range records {
		records[i].Value = fmt.Appendf(nil, "%s-%d", prefix, i)
	}
	return records
}

func (r *run) create(partitions int) error {
	if err := r.client.CreateTopic(r.ctx, r.topic, partitions); err != nil {
		return fmt.Errorf("create topic: %w", err)
	}
	return r.until("topic has its partitions", func() (bool, error) {
		have, err := r.client.Partitions(r.ctx, r.topic)
		return have == partitions, err
	})
}

func (r *run) produce(options ProducerOptions, records []Record) error {
	producer, err := r.client.NewProducer(r.ctx, r.topic, options)
	if err != nil {
		return fmt.Errorf("new producer: %w", err)
	}
	defer producer.Close()
	if err := producer.Send(r.ctx, records); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	return nil
}

func (r *run) read(partition int32, start Start, count int) ([]Record, error) {
	reader, err := r.client.NewReader(r.ctx, r.topic, partition, start)
	if err != nil {
		return nil, fmt.Errorf("new reader: %w", err)
	}
	defer reader.Close()
	records, err := reader.Read(r.ctx, count)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	return records, nil
}

// same compares what was read with what was sent, the first record having been given offset first.
func same(sent, got []Record, first int64) error {
	if len(sent) != len(got) {
		return fmt.Errorf("sent %d records, read %d", len(sent), len(got))
	}
	for i := range sent {
		if got[i].Offset != first+int64(i) {
			return fmt.Errorf("record %d: offset %d instead of %d", i, got[i].Offset, first+int64(i))
		}
		if !bytes.Equal(sent[i].Key, got[i].Key) || !bytes.Equal(sent[i].Value, got[i].Value) {
			return fmt.Errorf("record %d: sent %.40q=%.40q, read %.40q=%.40q", i, sent[i].Key, sent[i].Value, got[i].Key, got[i].Value)
		}
		if len(sent[i].Headers) != len(got[i].Headers) {
			return fmt.Errorf("record %d: sent %d headers, read %d", i, len(sent[i].Headers), len(got[i].Headers))
		}
		for j, header := range sent[i].Headers {
			if header.Key != got[i].Headers[j].Key || !bytes.Equal(header.Value, got[i].Headers[j].Value) {
				return fmt.Errorf("record %d: header %d: sent %v, read %v", i, j, header, got[i].Headers[j])
			}
		}
	}
	return nil
}

// roundTrip writes to a new topic of one partition and reads all of it back.
func (r *run) roundTrip(options ProducerOptions, records []Record) error {
	if err := r.create(1); err != nil {
		return err
	}
	if err := r.produce(options, records); err != nil {
		return err
	}
	got, err := r.read(0, Start{}, len(records))
	if err != nil {
		return err
	}
	if err := same(records, got, 0); err != nil {
		return err
	}
	end, err := r.client.EndOffset(r.ctx, r.topic, 0)
	if err == nil && end != int64(len(records)) {
		return fmt.Errorf("end offset is %d after %d records", end, len(records))
	}
	return err
}

func createDescribeDelete(r *run) error {
	if err := r.create(3); err != nil {
		return err
	}
	if err := r.client.CreateTopic(r.ctx, r.topic, 3); err == nil {
		return errors.New("a topic that exists was created again")
	}
	if err := r.client.DeleteTopic(r.ctx, r.topic); err != nil {
		return fmt.Errorf("delete topic: %w", err)
	}
	return r.until("topic is gone", func() (bool, error) {
		have, err := r.client.Partitions(r.ctx, r.topic)
		return err == nil && have == 0, err
	})
}

func codec(name string) func(*run) error {
	return func(r *run) error {
		records := values(200, strings.Repeat("a text that compresses well ", 10))
		return r.roundTrip(ProducerOptions{Acks: AcksAll, Codec: name}, records)
	}
}

func headers(r *run) error {
	records := values(3, "with-headers")
	records[0].Headers = []Header{{"trace", []byte("1")}, {"trace", []byte("2")}, {"empty", []byte{}}, {"\u00e9", []byte("\x00\xff")}}
	records[2].Headers = []Header{{"last", []byte("x")}}
	return r.roundTrip(ProducerOptions{Acks: AcksAll}, records)
}

func nullKeyValue(r *run) error {
	records := []Record{
		{Value: []byte("null key")},
		{Key: []byte("null value")},
		{Key: []byte{}, Value: []byte("empty key")},
		{Key: []byte("both"), Value: []byte("set")},
	}
	if err := r.create(1); err != nil {
		return err
	}
	if err := r.produce(ProducerOptions{Acks: AcksAll}, records); err != nil {
		return err
	}
	got, err := r.read(0, Start{}, len(records))
	if err != nil {
		return err
	}
	if err := same(records, got, 0); err != nil {
		return err
	}
	if got[0].Key != nil || got[1].Value != nil {
		return errors.New("a null came back as something else")
	}
	return nil
}

func record1MB(r *run) error {
	// With its framing it stays under the million bytes that most clients allow by default.
	value := make([]byte, 990_000)
	for i := range value {
		value[i] = byte(i * 31 >> 3)
	}
	return r.roundTrip(ProducerOptions{Acks: AcksAll}, []Record{{Key: []byte("big"), Value: value}})
}

func batches(r *run) error {
	if err := r.create(1); err != nil {
		return err
	}
	first := int64(0)
	for _, count := range []int{1, 10, 1000, 10000} {
		records := values(count, fmt.Sprintf("of-%d", count))
		if err := r.produce(ProducerOptions{Acks: AcksAll}, records); err != nil {
			return fmt.Errorf("%d records: %w", count, err)
		}
		got, err := r.read(0, Start{At: AtOffset, Offset: first}, count)
		if err != nil {
			return fmt.Errorf("%d records: %w", count, err)
		}
		if err := same(records, got, first); err != nil {
			return fmt.Errorf("%d records: %w", count, err)
		}
		first += int64(count)
	}
	return nil
}

func readFromStart(r *run) error {
	if err := r.create(1); err != nil {
		return err
	}
	records := values(50, "start")
	for _, part := range [][]Record{records[:20], records[20:21], records[21:]} {
		if err := r.produce(ProducerOptions{Acks: AcksAll}, part); err != nil {
			return err
		}
	}
	got, err := r.read(0, Start{At: Beginning}, len(records))
	if err != nil {
		return err
	}
	return same(records, got, 0)
}

func readFromEnd(r *run) error {
	if err := r.create(1); err != nil {
		return err
	}
	if err := r.produce(ProducerOptions{Acks: AcksAll}, values(5, "before")); err != nil {
		return err
	}
	reader, err := r.client.NewReader(r.ctx, r.topic, 0, Start{At: End})
	if err != nil {
		return fmt.Errorf("new reader: %w", err)
	}
	defer reader.Close()
	after := values(2, "after")
	if err := r.produce(ProducerOptions{Acks: AcksAll}, after); err != nil {
		return err
	}
	got, err := reader.Read(r.ctx, len(after))
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	return same(after, got, 5)
}

func readFromOffset(r *run) error {
	if err := r.create(1); err != nil {
		return err
	}
	records := values(100, "offset")
	if err := r.produce(ProducerOptions{Acks: AcksAll}, records); err != nil {
		return err
	}
	for _, offset := range []int64{0, 1, 57, 99} {
		got, err := r.read(0, Start{At: AtOffset, Offset: offset}, len(records)-int(offset))
		if err != nil {
			return fmt.Errorf("from %d: %w", offset, err)
		}
		if err := same(records[offset:], got, offset); err != nil {
			return fmt.Errorf("from %d: %w", offset, err)
		}
	}
	return nil
}

func readFromTimestamp(r *run) error {
	if err := r.create(1); err != nil {
		return err
	}
	base := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	records := values(10, "time")
	for i := range records {
		records[i].Timestamp = base.Add(time.Duration(i) * time.Second)
	}
	if err := r.produce(ProducerOptions{Acks: AcksAll}, records); err != nil {
		return err
	}
	// Between the fourth and the fifth record: the fifth is the first at or after it.
	for _, at := range []time.Time{base.Add(3500 * time.Millisecond), base.Add(4 * time.Second)} {
		got, err := r.read(0, Start{At: AtTimestamp, Timestamp: at}, 6)
		if err != nil {
			return err
		}
		if err := same(records[4:], got, 4); err != nil {
			return err
		}
		if !got[0].Timestamp.Equal(records[4].Timestamp) {
			return fmt.Errorf("timestamp %v came back as %v", records[4].Timestamp, got[0].Timestamp)
		}
	}
	return nil
}

func longPollLatency(r *run) error {
	if err := r.create(1); err != nil {
		return err
	}
	producer, err := r.client.NewProducer(r.ctx, r.topic, ProducerOptions{Acks: AcksAll})
	if err != nil {
		return fmt.Errorf("new producer: %w", err)
	}
	defer producer.Close()
	if err := producer.Send(r.ctx, values(1, "warm")); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	reader, err := r.client.NewReader(r.ctx, r.topic, 0, Start{At: Beginning})
	if err != nil {
		return fmt.Errorf("new reader: %w", err)
	}
	defer reader.Close()
	if _, err := reader.Read(r.ctx, 1); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	const rounds = 3
	var took []time.Duration
	inTime := 0
	for range rounds {
		received := make(chan error, 1)
		go func() {
			_, err := reader.Read(r.ctx, 1)
			received <- err
		}()
		// Long enough for the fetch to be waiting at the broker, which nothing outside can see.
		time.Sleep(500 * time.Millisecond)
		sent := time.Now()
		if err := producer.Send(r.ctx, values(1, "tick")); err != nil {
			return fmt.Errorf("produce: %w", err)
		}
		if err := <-received; err != nil {
			return fmt.Errorf("read: %w", err)
		}
		took = append(took, time.Since(sent))
		if took[len(took)-1] <= wakeMax {
			inTime++
		}
	}
	// One round may meet a busy machine; a fetch that is not woken misses all of them.
	if inTime < rounds-1 {
		return fmt.Errorf("a parked fetch was answered after %v", took)
	}
	return nil
}

func manyPartitions(r *run) error {
	const partitions, each = 100, 3
	if err := r.create(partitions); err != nil {
		return err
	}
	var records []Record
	for p := range int32(partitions) {
		for _, record := range values(each, fmt.Sprintf("p%d", p)) {
			record.Partition = p
			records = append(records, record)
		}
	}
	// Idempotent where that exists, since a leader that is not there yet has sends repeated, and plain producers may
	// then reorder them.
	err := r.produce(ProducerOptions{Acks: AcksAll, Idempotent: true}, records)
	if errors.Is(err, ErrUnsupported) {
		err = r.produce(ProducerOptions{Acks: AcksAll}, records)
	}
	if err != nil {
		return err
	}
	for p := range int32(partitions) {
		got, err := r.read(p, Start{}, each)
		if err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
		if err := same(values(each, fmt.Sprintf("p%d", p)), got, 0); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	return nil
}

func deleteAndRecreate(r *run) error {
	if err := r.create(1); err != nil {
		return err
	}
	if err := r.produce(ProducerOptions{Acks: AcksAll}, values(5, "old")); err != nil {
		return err
	}
	if err := r.client.DeleteTopic(r.ctx, r.topic); err != nil {
		return fmt.Errorf("delete topic: %w", err)
	}
	if err := r.until("topic can be created again", func() (bool, error) {
		err := r.client.CreateTopic(r.ctx, r.topic, 1)
		return err == nil, err
	}); err != nil {
		return err
	}
	if err := r.until("topic is back", func() (bool, error) {
		have, err := r.client.Partitions(r.ctx, r.topic)
		return have == 1, err
	}); err != nil {
		return err
	}
	fresh := values(2, "new")
	if err := r.produce(ProducerOptions{Acks: AcksAll}, fresh); err != nil {
		return err
	}
	got, err := r.read(0, Start{}, len(fresh))
	if err != nil {
		return err
	}
	return same(fresh, got, 0)
}

func reconnect(r *run) error {
	if err := r.create(1); err != nil {
		return err
	}
	producer, err := r.client.NewProducer(r.ctx, r.topic, ProducerOptions{Acks: AcksAll})
	if err != nil {
		return fmt.Errorf("new producer: %w", err)
	}
	defer producer.Close()
	reader, err := r.client.NewReader(r.ctx, r.topic, 0, Start{})
	if err != nil {
		return fmt.Errorf("new reader: %w", err)
	}
	defer reader.Close()
	records := values(20, "reconnect")
	if err := producer.Send(r.ctx, records[:10]); err != nil {
		return fmt.Errorf("produce before: %w", err)
	}
	got, err := reader.Read(r.ctx, 10)
	if err != nil {
		return fmt.Errorf("read before: %w", err)
	}
	if err := awaitRestart(); err != nil {
		return err
	}
	if err := producer.Send(r.ctx, records[10:]); err != nil {
		return fmt.Errorf("produce after the restart: %w", err)
	}
	more, err := reader.Read(r.ctx, 10)
	if err != nil {
		return fmt.Errorf("read after the restart: %w", err)
	}
	return same(records, append(got, more...), 0)
}
