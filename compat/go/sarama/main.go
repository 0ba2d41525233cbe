// Runs the scenarios with Sarama.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"
	"jocko.dev/compat/scenario"
)

func main() {
	scenario.Main(func(bootstrap []string) scenario.Client { return &client{bootstrap: bootstrap} })
}

type client struct {
	bootstrap []string
	shared    sarama.Client
}

func (c *client) Name() string   { return "sarama" }
func (c *client) Module() string { return "github.com/IBM/sarama" }

func settings() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Metadata.AllowAutoTopicCreation = false
	// Groups are asked for at the brokers of a list that is kept for as long as this, the one of the
	// middle of a rolling restart as well; the default is ten minutes.
	config.Metadata.RefreshFrequency = 200 * time.Millisecond
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.MaxMessageBytes = 1 << 20
	config.Consumer.Fetch.Min = 1
	config.Consumer.MaxWaitTime = 5 * time.Second
	return config
}

func (c *client) open() (sarama.Client, error) {
	if c.shared == nil {
		opened, err := sarama.NewClient(c.bootstrap, settings())
		if err != nil {
			return nil, err
		}
		c.shared = opened
	}
	return c.shared, nil
}

func (c *client) admin(use func(sarama.ClusterAdmin) error) error {
	opened, err := c.open()
	if err != nil {
		return err
	}
	// Closing the admin would close the client below it, which is shared.
	admin, err := sarama.NewClusterAdminFromClient(opened)
	if err != nil {
		return err
	}
	return use(admin)
}

func (c *client) CreateTopic(_ context.Context, topic string, partitions int) error {
	return c.admin(func(admin sarama.ClusterAdmin) error {
		return admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: int32(partitions), ReplicationFactor: -1}, false)
	})
}

func (c *client) DeleteTopic(_ context.Context, topic string) error {
	return c.admin(func(admin sarama.ClusterAdmin) error { return admin.DeleteTopic(topic) })
}

func (c *client) Partitions(_ context.Context, topic string) (int, error) {
	led := 0
	err := c.admin(func(admin sarama.ClusterAdmin) error {
		described, err := admin.DescribeTopics([]string{topic})
		if err != nil {
			return err
		}
		if described[0].Err == sarama.ErrUnknownTopicOrPartition {
			return nil
		}
		for _, partition := range described[0].Partitions {
			if partition.Leader >= 0 && partition.Err == sarama.ErrNoError {
				led++
			}
		}
		if described[0].Err != sarama.ErrNoError {
			return described[0].Err
		}
		return nil
	})
	return led, err
}

func (c *client) EndOffset(_ context.Context, topic string, partition int32) (int64, error) {
	opened, err := c.open()
	if err != nil {
		return 0, err
	}
	if err := opened.RefreshMetadata(topic); err != nil {
		return 0, err
	}
	return opened.GetOffset(topic, partition, sarama.OffsetNewest)
}

type producer struct {
	producer sarama.SyncProducer
	topic    string
}

func (c *client) NewProducer(_ context.Context, topic string, options scenario.ProducerOptions) (scenario.Producer, error) {
	config := settings()
	config.Producer.RequiredAcks = sarama.RequiredAcks(options.Acks)
	config.Producer.Compression = map[string]sarama.CompressionCodec{
		"gzip":   sarama.CompressionGZIP,
		"snappy": sarama.CompressionSnappy,
		"lz4":    sarama.CompressionLZ4,
		"zstd":   sarama.CompressionZSTD,
	}[options.Codec]
	if options.Idempotent {
		config.Producer.Idempotent = true
		config.Net.MaxOpenRequests = 1
	}
	// A restarted broker takes longer to come back than the default of three tries a tenth of a second apart.
	config.Producer.Retry.Max = 100
	opened, err := sarama.NewSyncProducer(c.bootstrap, config)
	return &producer{opened, topic}, err
}

func (p *producer) Send(_ context.Context, records []scenario.Record) error {
	messages := make([]*sarama.ProducerMessage, len(records))
	for i, record := range records {
		messages[i] = &sarama.ProducerMessage{Topic: p.topic, Partition: record.Partition, Timestamp: record.Timestamp}
		if record.Key != nil {
			messages[i].Key = sarama.ByteEncoder(record.Key)
		}
		if record.Value != nil {
			messages[i].Value = sarama.ByteEncoder(record.Value)
		}
		for _, header := range record.Headers {
			messages[i].Headers = append(messages[i].Headers, sarama.RecordHeader{Key: []byte(header.Key), Value: header.Value})
		}
	}
	err := p.producer.SendMessages(messages)
	var failed sarama.ProducerErrors
	if errors.As(err, &failed) && len(failed) > 0 {
		return failed[0].Err
	}
	return err
}

func (p *producer) Close() { p.producer.Close() }

type reader struct {
	consumer  sarama.Consumer
	partition sarama.PartitionConsumer
}

func (c *client) NewReader(_ context.Context, topic string, partition int32, start scenario.Start) (scenario.Reader, error) {
	opened, err := sarama.NewClient(c.bootstrap, settings())
	if err != nil {
		return nil, err
	}
	offset := start.Offset
	switch start.At {
	case scenario.Beginning:
		offset = sarama.OffsetOldest
	case scenario.End:
		offset = sarama.OffsetNewest
	case scenario.AtTimestamp:
		if offset, err = opened.GetOffset(topic, partition, start.Timestamp.UnixMilli()); err != nil {
			opened.Close()
			return nil, err
		}
	case scenario.AtOffset:
	}
	consumer, err := sarama.NewConsumerFromClient(opened)
	if err != nil {
		opened.Close()
		return nil, err
	}
	reading, err := consumer.ConsumePartition(topic, partition, offset)
	if err != nil {
		opened.Close()
		return nil, err
	}
	return &reader{&ownedConsumer{consumer, opened}, reading}, nil
}

// ownedConsumer closes the client that was opened for it.
type ownedConsumer struct {
	sarama.Consumer
	client sarama.Client
}

func (o *ownedConsumer) Close() error {
	return errors.Join(o.Consumer.Close(), o.client.Close())
}

func (r *reader) Read(ctx context.Context, count int) ([]scenario.Record, error) {
	records := make([]scenario.Record, 0, count)
	for len(records) < count {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("after %d of %d records: %w", len(records), count, ctx.Err())
		case got, open := <-r.partition.Messages():
			if !open {
				return nil, fmt.Errorf("after %d of %d records: the consumer stopped", len(records), count)
			}
			record := scenario.Record{
				Partition: got.Partition, Key: got.Key, Value: got.Value, Timestamp: got.Timestamp, Offset: got.Offset,
			}
			for _, header := range got.Headers {
				record.Headers = append(record.Headers, scenario.Header{Key: string(header.Key), Value: header.Value})
			}
			records = append(records, record)
		}
	}
	return records, nil
}

func (r *reader) Close() {
	// Does not wait for the fetch that may be parked at the broker.
	r.partition.AsyncClose()
	go r.consumer.Close()
}
