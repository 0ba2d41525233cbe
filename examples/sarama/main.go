// Writes three records with Sarama and reads them back in a group.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/IBM/sarama"
)

const topic = "greetings-sarama"

func main() {
	brokers := []string{"localhost:9092"}
	if len(os.Args) > 1 {
		brokers = os.Args[1:]
	}
	if err := run(brokers); err != nil {
		log.Fatal(err)
	}
}

func run(brokers []string) error {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Idempotent = true
	config.Net.MaxOpenRequests = 1
	config.Producer.Return.Successes = true
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	client, err := sarama.NewClient(brokers, config)
	if err != nil {
		return err
	}
	defer client.Close()
	if err := createTopic(client); err != nil {
		return err
	}
	if err := write(client); err != nil {
		return err
	}
	return read(client)
}

func createTopic(client sarama.Client) error {
	// Closing it would close the client, which is still needed.
	admin, err := sarama.NewClusterAdminFromClient(client)
	if err != nil {
		return err
	}
	// As many copies as the cluster thinks right.
	err = admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: -1}, false)
	if errors.Is(err, sarama.ErrTopicAlreadyExists) {
		return nil
	}
	return err
}

func write(client sarama.Client) error {
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		return err
	}
	defer producer.Close()
	for n := 1; n <= 3; n++ {
		partition, offset, err := producer.SendMessage(&sarama.ProducerMessage{
			Topic: topic,
			Key:   sarama.StringEncoder("key"),
			Value: sarama.StringEncoder(fmt.Sprintf("hello %d from sarama", n)),
		})
		if err != nil {
			return err
		}
		fmt.Printf("wrote partition %d, offset %d\n", partition, offset)
	}
	return nil
}

func read(client sarama.Client) error {
	group, err := sarama.NewConsumerGroupFromClient("readers-sarama", client)
	if err != nil {
		return err
	}
	defer group.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	reader := &reader{left: 3, done: cancel}
	// A rebalance ends a session; the next one goes on where it ended.
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{topic}, reader); err != nil {
			return err
		}
	}
	if reader.left > 0 {
		return fmt.Errorf("%d records did not come", reader.left)
	}
	return nil
}

// reader prints records until it has seen enough.
type reader struct {
	left int
	done context.CancelFunc
}

func (*reader) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*reader) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (r *reader) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case record, open := <-claim.Messages():
			if !open {
				return nil
			}
			fmt.Printf("read %s\n", record.Value)
			session.MarkMessage(record, "")
			if r.left--; r.left == 0 {
				session.Commit()
				r.done()
			}
		case <-session.Context().Done():
			return nil
		}
	}
}
