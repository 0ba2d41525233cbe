package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"jocko.dev/compat/scenario"
)

// member reads with a reader for each partition that a generation of its group gives it.
type member struct {
	scenario.Inbox
	bootstrap []string
	group     *kafka.ConsumerGroup
	stop      context.CancelFunc
	done      chan struct{}

	mutex      sync.Mutex
	generation *kafka.Generation
	next       map[string]map[int]int64
	readers    map[int]*kafka.Reader
}

func (c *client) NewMember(_ context.Context, options scenario.MemberOptions) (scenario.Member, error) {
	switch {
	case options.Consumer:
		return nil, fmt.Errorf("consumer protocol (KIP-848): %w", scenario.ErrUnsupported)
	case options.Cooperative:
		return nil, fmt.Errorf("cooperative rebalance: %w", scenario.ErrUnsupported)
	case options.Pattern != "":
		return nil, fmt.Errorf("subscription by pattern: %w", scenario.ErrUnsupported)
	case options.Instance != "":
		return nil, fmt.Errorf("static member: %w", scenario.ErrUnsupported)
	}
	opened, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
		ID: options.Group, Brokers: c.bootstrap, Topics: options.Topics,
		SessionTimeout: scenario.SessionTimeout, HeartbeatInterval: 300 * time.Millisecond,
		JoinGroupBackoff: 200 * time.Millisecond, StartOffset: kafka.FirstOffset,
	})
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &member{bootstrap: c.bootstrap, group: opened, stop: stop, done: make(chan struct{})}
	go m.run(ctx)
	return m, nil
}

func (m *member) run(ctx context.Context) {
	defer close(m.done)
	for ctx.Err() == nil {
		generation, err := m.group.Next(ctx)
		if err != nil {
			// An error such as a lost connection is the caller's to try again.
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		}
		m.mutex.Lock()
		m.generation = generation
		m.next = make(map[string]map[int]int64)
		m.readers = make(map[int]*kafka.Reader)
		m.mutex.Unlock()
		var held []int32
		for topic, places := range generation.Assignments {
			for _, place := range places {
				held = append(held, int32(place.ID))
				generation.Start(func(ctx context.Context) { m.read(ctx, topic, place) })
			}
		}
		m.Assign(held...)
		// Ends with the generation.
		generation.Start(func(ctx context.Context) {
			<-ctx.Done()
			m.Revoke(held...)
		})
	}
}

func (m *member) read(ctx context.Context, topic string, place kafka.PartitionAssignment) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: m.bootstrap, Topic: topic, Partition: place.ID, MinBytes: 1, MaxBytes: 10 << 20,
		MaxWait: 200 * time.Millisecond,
	})
	defer reader.Close()
	if err := reader.SetOffset(place.Offset); err != nil {
		m.Fail(err)
		return
	}
	m.mutex.Lock()
	m.readers[place.ID] = reader
	m.mutex.Unlock()
	for {
		got, err := reader.ReadMessage(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			time.Sleep(100 * time.Millisecond)
			continue
		}
		m.mutex.Lock()
		if m.next[topic] == nil {
			m.next[topic] = make(map[int]int64)
		}
		m.next[topic][place.ID] = got.Offset + 1
		m.mutex.Unlock()
		m.Receive(scenario.Record{
			Partition: int32(got.Partition), Key: got.Key, Value: got.Value, Timestamp: got.Time, Offset: got.Offset,
		})
	}
}

func (m *member) Commit(_ context.Context, background bool) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if background {
		go m.generation.CommitOffsets(m.next)
		return nil
	}
	return m.generation.CommitOffsets(m.next)
}

func (m *member) SeekTime(ctx context.Context, _ string, partition int32, at time.Time) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.readers[int(partition)].SetOffsetAt(ctx, at)
}

func (m *member) Close() {
	m.stop()
	m.group.Close()
	<-m.done
}

func (c *client) ListGroups(ctx context.Context) (names []string, err error) {
	answer, err := c.admin.ListGroups(ctx, &kafka.ListGroupsRequest{})
	if err != nil {
		return nil, err
	}
	for _, group := range answer.Groups {
		names = append(names, group.GroupID)
	}
	return names, answer.Error
}

func (c *client) DescribeGroup(ctx context.Context, group string) (string, int, error) {
	answer, err := c.admin.DescribeGroups(ctx, &kafka.DescribeGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return "", 0, err
	}
	return answer.Groups[0].GroupState, len(answer.Groups[0].Members), answer.Groups[0].Error
}

func (c *client) DeleteGroup(ctx context.Context, group string) error {
	answer, err := c.admin.DeleteGroups(ctx, &kafka.DeleteGroupsRequest{GroupIDs: []string{group}})
	if err != nil {
		return err
	}
	return answer.Errors[group]
}

func (c *client) CommitFor(ctx context.Context, group, topic string, partition int32, offset int64) error {
	answer, err := c.admin.OffsetCommit(ctx, &kafka.OffsetCommitRequest{
		GroupID: group, GenerationID: -1,
		Topics: map[string][]kafka.OffsetCommit{topic: {{Partition: int(partition), Offset: offset}}},
	})
	if err != nil {
		return err
	}
	return answer.Topics[topic][0].Error
}

func (c *client) Committed(ctx context.Context, group, topic string, partition int32) (int64, error) {
	answer, err := c.admin.OffsetFetch(ctx, &kafka.OffsetFetchRequest{
		GroupID: group, Topics: map[string][]int{topic: {int(partition)}},
	})
	if err != nil {
		return -1, err
	}
	found := answer.Topics[topic]
	if len(found) != 1 {
		return -1, answer.Error
	}
	return found[0].CommittedOffset, errors.Join(answer.Error, found[0].Error)
}

func (c *client) DeleteOffset(ctx context.Context, group, topic string, partition int32) error {
	answer, err := c.admin.OffsetDelete(ctx, &kafka.OffsetDeleteRequest{
		GroupID: group, Topics: map[string][]int{topic: {int(partition)}},
	})
	if err != nil {
		return err
	}
	return errors.Join(answer.Error, answer.Topics[topic][0].Error)
}

func (c *client) SetConfig(ctx context.Context, topic, name, value string) error {
	answer, err := c.admin.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{
		Resources: []kafka.IncrementalAlterConfigsRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic,
			Configs: []kafka.IncrementalAlterConfigsRequestConfig{
				{Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet},
			},
		}},
	})
	if err != nil {
		return err
	}
	return answer.Resources[0].Error
}

func (c *client) GetConfig(ctx context.Context, topic, name string) (string, error) {
	answer, err := c.admin.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ConfigNames: []string{name},
		}},
	})
	if err != nil {
		return "", err
	}
	if found := answer.Resources[0]; len(found.ConfigEntries) != 1 {
		return "", errors.Join(found.Error, errors.New("the config is not described"))
	}
	return answer.Resources[0].ConfigEntries[0].ConfigValue, nil
}

func (c *client) AddPartitions(ctx context.Context, topic string, total int) error {
	answer, err := c.admin.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{
		Topics: []kafka.TopicPartitionsConfig{{Name: topic, Count: int32(total)}},
	})
	if err != nil {
		return err
	}
	return answer.Errors[topic]
}

func (c *client) DeleteRecords(context.Context, string, int32, int64) error {
	return fmt.Errorf("delete records: %w", scenario.ErrUnsupported)
}
