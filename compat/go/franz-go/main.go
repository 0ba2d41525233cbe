// Runs the scenarios with franz-go: kgo for records, kadm for administration.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"jocko.dev/compat/scenario"
)

func main() {
	scenario.Main(func(bootstrap []string) scenario.Client { return &client{bootstrap: bootstrap} })
}

type client struct {
	bootstrap []string
	shared    *kadm.Client
}

func (c *client) Name() string   { return "franz-go" }
func (c *client) Module() string { return "github.com/twmb/franz-go" }

func (c *client) open(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(options, kgo.SeedBrokers(c.bootstrap...))...)
}

func (c *client) admin() (*kadm.Client, error) {
	if c.shared == nil {
		opened, err := c.open(kgo.MetadataMinAge(20 * time.Millisecond))
		if err != nil {
			return nil, err
		}
		c.shared = kadm.NewClient(opened)
	}
	return c.shared, nil
}

func (c *client) CreateTopic(ctx context.Context, topic string, partitions int) error {
	admin, err := c.admin()
	if err != nil {
		return err
	}
	_, err = admin.CreateTopic(ctx, int32(partitions), -1, nil, topic)
	return err
}

func (c *client) DeleteTopic(ctx context.Context, topic string) error {
	admin, err := c.admin()
	if err != nil {
		return err
	}
	_, err = admin.DeleteTopic(ctx, topic)
	return err
}

func (c *client) Partitions(ctx context.Context, topic string) (int, error) {
	admin, err := c.admin()
	if err != nil {
		return 0, err
	}
	details, err := admin.ListTopics(ctx, topic)
	if err != nil {
		return 0, err
	}
	detail := details[topic]
	if errors.Is(detail.Err, kerr.UnknownTopicOrPartition) {
		return 0, nil
	}
	led := 0
	for _, partition := range detail.Partitions {
		if partition.Leader >= 0 && partition.Err == nil {
			led++
		}
	}
	return led, detail.Err
}

func (c *client) EndOffset(ctx context.Context, topic string, partition int32) (int64, error) {
	admin, err := c.admin()
	if err != nil {
		return 0, err
	}
	ends, err := admin.ListEndOffsets(ctx, topic)
	if err != nil {
		return 0, err
	}
	end, ok := ends.Lookup(topic, partition)
	if !ok {
		return 0, fmt.Errorf("no answer for partition %d", partition)
	}
	return end.Offset, end.Err
}

type producer struct {
	client *kgo.Client
	topic  string
}

func (c *client) NewProducer(_ context.Context, topic string, options scenario.ProducerOptions) (scenario.Producer, error) {
	acks := map[scenario.Acks]kgo.Acks{
		scenario.AcksNone:   kgo.NoAck(),
		scenario.AcksLeader: kgo.LeaderAck(),
		scenario.AcksAll:    kgo.AllISRAcks(),
	}[options.Acks]
	codec := map[string]kgo.CompressionCodec{
		"gzip":   kgo.GzipCompression(),
		"snappy": kgo.SnappyCompression(),
		"lz4":    kgo.Lz4Compression(),
		"zstd":   kgo.ZstdCompression(),
	}[options.Codec]
	settings := []kgo.Opt{
		kgo.RequiredAcks(acks),
		kgo.ProducerBatchCompression(codec),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}
	if !options.Idempotent {
		settings = append(settings, kgo.DisableIdempotentWrite())
	}
	opened, err := c.open(settings...)
	return &producer{opened, topic}, err
}

func (p *producer) Send(ctx context.Context, records []scenario.Record) error {
	batch := make([]*kgo.Record, len(records))
	for i, record := range records {
		batch[i] = &kgo.Record{
			Topic: p.topic, Partition: record.Partition, Key: record.Key, Value: record.Value, Timestamp: record.Timestamp,
		}
		for _, header := range record.Headers {
			batch[i].Headers = append(batch[i].Headers, kgo.RecordHeader{Key: header.Key, Value: header.Value})
		}
	}
	return p.client.ProduceSync(ctx, batch...).FirstErr()
}

func (p *producer) Close() { p.client.Close() }

type reader struct {
	client   *kgo.Client
	buffered []*kgo.Record
}

func (c *client) NewReader(ctx context.Context, topic string, partition int32, start scenario.Start) (scenario.Reader, error) {
	at := kgo.NewOffset()
	switch start.At {
	case scenario.Beginning:
		at = at.AtStart()
	case scenario.AtOffset:
		at = at.At(start.Offset)
	case scenario.AtTimestamp:
		at = at.AfterMilli(start.Timestamp.UnixMilli())
	case scenario.End:
		// The client resolves an end lazily, at its first poll; the reader has to stand there already.
		end, err := c.EndOffset(ctx, topic, partition)
		if err != nil {
			return nil, err
		}
		at = at.At(end)
	}
	opened, err := c.open(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: at}}),
		kgo.FetchMinBytes(1), kgo.FetchMaxWait(5*time.Second),
	)
	return &reader{client: opened}, err
}

func (r *reader) Read(ctx context.Context, count int) ([]scenario.Record, error) {
	for len(r.buffered) < count {
		fetches := r.client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("after %d of %d records: %w", len(r.buffered), count, err)
		}
		r.buffered = append(r.buffered, fetches.Records()...)
	}
	records := make([]scenario.Record, count)
	for i, got := range r.buffered[:count] {
		records[i] = scenario.Record{
			Partition: got.Partition, Key: got.Key, Value: got.Value, Timestamp: got.Timestamp, Offset: got.Offset,
		}
		for _, header := range got.Headers {
			records[i].Headers = append(records[i].Headers, scenario.Header{Key: header.Key, Value: header.Value})
		}
	}
	r.buffered = r.buffered[count:]
	return records, nil
}

func (r *reader) Close() { r.client.Close() }
