// Writes three records with franz-go and reads them back in a group.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const topic = "greetings-franz-go"

func main() {
	brokers := []string{"localhost:9092"}
	if len(os.Args) > 1 {
		brokers = os.Args[1:]
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := run(ctx, brokers); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, brokers []string) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(brokers...),
		kgo.ConsumerGroup("readers-franz-go"),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
	)
	if err != nil {
		return err
	}
	defer client.Close()

	// As many partitions and copies as the cluster thinks right.
	_, err = kadm.NewClient(client).CreateTopic(ctx, -1, -1, nil, topic)
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return err
	}

	// Idempotent and acks=all, as franz-go is by default.
	for n := 1; n <= 3; n++ {
		record := &kgo.Record{Topic: topic, Key: []byte("key"), Value: fmt.Appendf(nil, "hello %d from franz-go", n)}
		written, err := client.ProduceSync(ctx, record).First()
		if err != nil {
			return err
		}
		fmt.Printf("wrote partition %d, offset %d\n", written.Partition, written.Offset)
	}

	for left := 3; left > 0; {
		fetches := client.PollFetches(ctx)
		if err := errors.Join(fetches.Err(), ctx.Err()); err != nil {
			return err
		}
		fetches.EachRecord(func(record *kgo.Record) {
			fmt.Printf("read %s\n", record.Value)
			left--
		})
	}
	return client.CommitUncommittedOffsets(ctx)
}
