// Runs the scenarios with segmentio/kafka-go. It has no idempotent producer.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"
	"jocko.dev/compat/scenario"
)

func main() {
	scenario.Main(func(bootstrap []string) scenario.Client {
		return &client{bootstrap, &kafka.Client{Addr: kafka.TCP(bootstrap...), Timeout: 10 * time.Second}}
	})
}

type client struct {
	bootstrap []string
	admin     *kafka.Client
}

func (c *client) Name() string   { return "kafka-go" }
func (c *client) Module() string { return "github.com/segmentio/kafka-go" }

func (c *client) CreateTopic(ctx context.Context, topic string, partitions int) error {
	request := &kafka.CreateTopicsRequest{
		Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: partitions, ReplicationFactor: -1}},
	}
	answer, err := c.admin.CreateTopics(ctx, request)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		// The client keeps connections, and does not see that the broker was restarted before it uses one.
		answer, err = c.admin.CreateTopics(ctx, request)
	}
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

func (c *client) DeleteTopic(ctx context.Context, topic string) error {
	answer, err := c.admin.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

// Partitions asks every broker, since the client does not ask again where one has not heard of a topic yet: -1 where
// they do not agree.
func (c *client) Partitions(ctx context.Context, topic string) (int, error) {
	first := 0
	for i, broker := range c.bootstrap {
		led, err := c.partitionsAt(ctx, broker, topic)
		if err != nil {
			return 0, err
		}
		if i == 0 {
			first = led
		}
		if led != first {
			return -1, nil
		}
	}
	return first, nil
}

func (c *client) partitionsAt(ctx context.Context, broker, topic string) (int, error) {
	// A transport of its own, since a shared one answers from metadata that it read before.
	transport := &kafka.Transport{}
	defer transport.CloseIdleConnections()
	fresh := &kafka.Client{Addr: kafka.TCP(broker), Timeout: c.admin.Timeout, Transport: transport}
	answer, err := fresh.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, err
	}
	if len(answer.Topics) != 1 || errors.Is(answer.Topics[0].Error, kafka.UnknownTopicOrPartition) {
		return 0, nil
	}
	led := 0
	for _, partition := range answer.Topics[0].Partitions {
		if partition.Error == nil && partition.Leader.Port != 0 {
			led++
		}
	}
	return led, answer.Topics[0].Error
}

func (c *client) EndOffset(ctx context.Context, topic string, partition int32) (int64, error) {
	conn, err := kafka.DialLeader(ctx, "tcp", c.bootstrap[0], topic, int(partition))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return conn.ReadLastOffset()
}

type producer struct{ writer *kafka.Writer }

func (c *client) NewProducer(_ context.Context, topic string, options scenario.ProducerOptions) (scenario.Producer, error) {
	if options.Idempotent {
		return nil, fmt.Errorf("idempotent producer: %w", scenario.ErrUnsupported)
	}
	return &producer{&kafka.Writer{
		Addr:         kafka.TCP(c.bootstrap...),
		Topic:        topic,
		RequiredAcks: kafka.RequiredAcks(options.Acks),
		Compression: map[string]kafka.Compression{
			"gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd,
		}[options.Codec],
		BatchSize:    10_000,
		BatchTimeout: 10 * time.Millisecond,
		MaxAttempts:  60,
		// A write names no partition of its own, so each message carries its wish.
		Balancer: kafka.BalancerFunc(func(message kafka.Message, _ ...int) int { return message.WriterData.(int) }),
		// No metadata from before the topic was created.
		Transport: &kafka.Transport{},
	}}, nil
}

func (p *producer) Send(ctx context.Context, records []scenario.Record) error {
	messages := make([]kafka.Message, len(records))
	for i, record := range records {
		messages[i] = kafka.Message{
			Key: record.Key, Value: record.Value, Time: record.Timestamp, WriterData: int(record.Partition),
		}
		for _, header := range record.Headers {
			messages[i].Headers = append(messages[i].Headers, kafka.Header{Key: header.Key, Value: header.Value})
		}
	}
	return p.writer.WriteMessages(ctx, messages...)
}

func (p *producer) Close() { p.writer.Close() }

type reader struct{ reader *kafka.Reader }

func (c *client) NewReader(ctx context.Context, topic string, partition int32, start scenario.Start) (scenario.Reader, error) {
	opened := kafka.NewReader(kafka.ReaderConfig{
		Brokers: c.bootstrap, Topic: topic, Partition: int(partition),
		MinBytes: 1, MaxBytes: 10 << 20, MaxWait: 5 * time.Second,
	})
	var err error
	switch start.At {
	case scenario.Beginning:
		err = opened.SetOffset(kafka.FirstOffset)
	case scenario.AtOffset:
		err = opened.SetOffset(start.Offset)
	case scenario.AtTimestamp:
		err = opened.SetOffsetAt(ctx, start.Timestamp)
	case scenario.End:
		// The reader resolves an end lazily, at its first read; it has to stand there already.
		var end int64
		if end, err = c.EndOffset(ctx, topic, partition); err == nil {
			err = opened.SetOffset(end)
		}
	}
	return &reader{opened}, err
}

func (r *reader) Read(ctx context.Context, count int) ([]scenario.Record, error) {
	records := make([]scenario.Record, count)
	for i := range records {
		got, err := r.reader.ReadMessage(ctx)
		// An error such as a refused connection is the caller's to try again.
		for err != nil {
			select {
			case <-ctx.Done():
				return nil, fmt.Errorf("after %d of %d records: %w", i, count, err)
			case <-time.After(100 * time.Millisecond):
			}
			got, err = r.reader.ReadMessage(ctx)
		}
		records[i] = scenario.Record{
			Partition: int32(got.Partition), Key: got.Key, Value: got.Value, Timestamp: got.Time, Offset: got.Offset,
		}
		for _, header := range got.Headers {
			records[i].Headers = append(records[i].Headers, scenario.Header{Key: header.Key, Value: header.Value})
		}
	}
	return records, nil
}

// Close does not wait for the fetch that may be parked at the broker.
func (r *reader) Close() { go r.reader.Close() }
