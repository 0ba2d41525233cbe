package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"jocko.dev/compat/scenario"
)

type member struct {
	scenario.Inbox
	group sarama.ConsumerGroup
	stop  context.CancelFunc
	done  chan struct{}

	mutex   sync.Mutex
	session sarama.ConsumerGroupSession
	last    map[int32]*sarama.ConsumerMessage
}

func (c *client) NewMember(_ context.Context, options scenario.MemberOptions) (scenario.Member, error) {
	switch {
	case options.Consumer:
		return nil, fmt.Errorf("consumer protocol (KIP-848): %w", scenario.ErrUnsupported)
	case options.Cooperative:
		return nil, fmt.Errorf("cooperative rebalance: %w", scenario.ErrUnsupported)
	case options.Pattern != "":
		return nil, fmt.Errorf("subscription by pattern: %w", scenario.ErrUnsupported)
	}
	config := settings()
	config.Consumer.Group.Session.Timeout = scenario.SessionTimeout
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	config.Consumer.Group.InstanceId = options.Instance
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Interval = 200 * time.Millisecond
	config.Consumer.MaxWaitTime = 200 * time.Millisecond
	opened, err := sarama.NewConsumerGroup(c.bootstrap, options.Group, config)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &member{group: opened, stop: stop, done: make(chan struct{}), last: make(map[int32]*sarama.ConsumerMessage)}
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			// An error such as a lost connection is the caller's to try again.
			if err := opened.Consume(ctx, options.Topics, m); err != nil {
				select {
				case <-ctx.Done():
				case <-time.After(100 * time.Millisecond):
				}
			}
		}
	}()
	return m, nil
}

func (m *member) Setup(session sarama.ConsumerGroupSession) error {
	m.mutex.Lock()
	m.session = session
	m.mutex.Unlock()
	for _, partitions := range session.Claims() {
		m.Assign(partitions...)
	}
	return nil
}

func (m *member) Cleanup(session sarama.ConsumerGroupSession) error {
	for _, partitions := range session.Claims() {
		m.Revoke(partitions...)
	}
	return nil
}

func (m *member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case <-session.Context().Done():
			return nil
		case got, open := <-claim.Messages():
			if !open {
				return nil
			}
			m.mutex.Lock()
			m.last[got.Partition] = got
			m.mutex.Unlock()
			m.Receive(scenario.Record{
				Partition: got.Partition, Key: got.Key, Value: got.Value, Timestamp: got.Timestamp, Offset: got.Offset,
			})
		}
	}
}

// Commit marks what was received, which the client commits in the background every so often.
func (m *member) Commit(_ context.Context, background bool) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	for _, message := range m.last {
		m.session.MarkMessage(message, "")
	}
	if !background {
		m.session.Commit()
	}
	return nil
}

func (m *member) SeekTime(context.Context, string, int32, time.Time) error {
	return fmt.Errorf("seek while a session lasts: %w", scenario.ErrUnsupported)
}

func (m *member) Close() {
	m.stop()
	<-m.done
	m.group.Close()
}

func (c *client) ListGroups(context.Context) (names []string, err error) {
	err = c.admin(func(admin sarama.ClusterAdmin) error {
		groups, err := admin.ListConsumerGroups()
		for name := range groups {
			names = append(names, name)
		}
		return err
	})
	return names, err
}

func (c *client) DescribeGroup(_ context.Context, group string) (state string, members int, err error) {
	err = c.admin(func(admin sarama.ClusterAdmin) error {
		described, err := admin.DescribeConsumerGroups([]string{group})
		if err != nil {
			return err
		}
		state, members = described[0].State, len(described[0].Members)
		return nil
	})
	return state, members, err
}

func (c *client) DeleteGroup(_ context.Context, group string) error {
	return c.admin(func(admin sarama.ClusterAdmin) error { return admin.DeleteConsumerGroup(group) })
}

func (c *client) CommitFor(_ context.Context, group, topic string, partition int32, offset int64) error {
	return c.admin(func(admin sarama.ClusterAdmin) error {
		answer, err := admin.AlterConsumerGroupOffsets(group, map[string]map[int32]sarama.OffsetAndMetadata{
			topic: {partition: {Offset: offset, LeaderEpoch: -1}},
		}, nil)
		if err != nil {
			return err
		}
		if refused := answer.Errors[topic][partition]; refused != sarama.ErrNoError {
			return refused
		}
		return nil
	})
}

func (c *client) Committed(_ context.Context, group, topic string, partition int32) (offset int64, err error) {
	offset = -1
	err = c.admin(func(admin sarama.ClusterAdmin) error {
		answer, err := admin.ListConsumerGroupOffsets(group, map[string][]int32{topic: {partition}})
		if err != nil {
			return err
		}
		if block := answer.GetBlock(topic, partition); block != nil {
			offset = block.Offset
		}
		return nil
	})
	return offset, err
}

func (c *client) DeleteOffset(_ context.Context, group, topic string, partition int32) error {
	return c.admin(func(admin sarama.ClusterAdmin) error {
		return admin.DeleteConsumerGroupOffset(group, topic, partition)
	})
}

func (c *client) SetConfig(_ context.Context, topic, name, value string) error {
	return c.admin(func(admin sarama.ClusterAdmin) error {
		return admin.IncrementalAlterConfig(sarama.TopicResource, topic, map[string]sarama.IncrementalAlterConfigsEntry{
			name: {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value},
		}, false)
	})
}

func (c *client) GetConfig(_ context.Context, topic, name string) (value string, err error) {
	err = c.admin(func(admin sarama.ClusterAdmin) error {
		entries, err := admin.DescribeConfig(sarama.ConfigResource{
			Type: sarama.TopicResource, Name: topic, ConfigNames: []string{name},
		})
		if err != nil {
			return err
		}
		found := slices.IndexFunc(entries, func(entry sarama.ConfigEntry) bool { return entry.Name == name })
		if found < 0 {
			return errors.New("the config is not described")
		}
		value = entries[found].Value
		return nil
	})
	return value, err
}

func (c *client) AddPartitions(_ context.Context, topic string, total int) error {
	return c.admin(func(admin sarama.ClusterAdmin) error {
		return admin.CreatePartitions(topic, int32(total), nil, false)
	})
}

func (c *client) DeleteRecords(_ context.Context, topic string, partition int32, before int64) error {
	return c.admin(func(admin sarama.ClusterAdmin) error {
		return admin.DeleteRecords(topic, map[int32]int64{partition: before})
	})
}
