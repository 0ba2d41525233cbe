package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"jocko.dev/compat/scenario"
)

type member struct {
	scenario.Inbox
	client *kgo.Client
	admin  *kadm.Client
	stop   context.CancelFunc
	done   chan struct{}
}

func (c *client) NewMember(_ context.Context, options scenario.MemberOptions) (scenario.Member, error) {
	if options.Consumer && options.Instance != "" {
		// Seen with Kafka and with jocko: one that returns is given other partitions.
		return nil, fmt.Errorf("a static member of the consumer protocol that keeps its partitions: %w", scenario.ErrUnsupported)
	}
	m := &member{done: make(chan struct{})}
	flat := func(places map[string][]int32) (all []int32) {
		for _, partitions := range places {
			all = append(all, partitions...)
		}
		return all
	}
	taken := func(_ context.Context, _ *kgo.Client, places map[string][]int32) { m.Revoke(flat(places)...) }
	settings := []kgo.Opt{
		kgo.ConsumerGroup(options.Group),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
		kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.MetadataMaxAge(500 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, places map[string][]int32) {
			m.Assign(flat(places)...)
		}),
		kgo.OnPartitionsRevoked(taken),
		kgo.OnPartitionsLost(taken),
	}
	if options.Pattern != "" {
		settings = append(settings, kgo.ConsumeRegex(), kgo.ConsumeTopics(options.Pattern))
	} else {
		settings = append(settings, kgo.ConsumeTopics(options.Topics...))
	}
	switch {
	case options.Consumer:
		settings = append(settings, kgo.Balancers(kgo.StickyBalancer()), kgo.ServerSideBalancer())
	case options.Cooperative:
		settings = append(settings, kgo.Balancers(kgo.CooperativeStickyBalancer()))
	default:
		settings = append(settings, kgo.Balancers(kgo.RangeBalancer()))
	}
	if !options.Consumer {
		// With the consumer protocol these are the broker's.
		settings = append(settings, kgo.SessionTimeout(scenario.SessionTimeout), kgo.HeartbeatInterval(300*time.Millisecond))
	}
	if options.Instance != "" {
		settings = append(settings, kgo.InstanceID(options.Instance))
	}
	opened, err := c.open(settings...)
	if err != nil {
		return nil, err
	}
	m.client, m.admin = opened, kadm.NewClient(opened)
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	go m.poll(ctx)
	return m, nil
}

func (m *member) poll(ctx context.Context) {
	defer close(m.done)
	for ctx.Err() == nil {
		fetches := m.client.PollFetches(ctx)
		fetches.EachRecord(func(got *kgo.Record) {
			m.Receive(scenario.Record{
				Partition: got.Partition, Key: got.Key, Value: got.Value, Timestamp: got.Timestamp, Offset: got.Offset,
			})
		})
	}
}

func (m *member) Commit(ctx context.Context, background bool) error {
	if !background {
		return m.client.CommitUncommittedOffsets(ctx)
	}
	m.client.CommitOffsets(ctx, m.client.UncommittedOffsets(), nil)
	return nil
}

func (m *member) SeekTime(ctx context.Context, topic string, partition int32, at time.Time) error {
	listed, err := m.admin.ListOffsetsAfterMilli(ctx, at.UnixMilli(), topic)
	if err != nil {
		return err
	}
	found, ok := listed.Lookup(topic, partition)
	if !ok {
		return fmt.Errorf("no answer for partition %d", partition)
	}
	m.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{
		topic: {partition: {Epoch: found.LeaderEpoch, Offset: found.Offset}},
	})
	return found.Err
}

func (m *member) Close() {
	m.stop()
	<-m.done
	m.client.Close()
}

func (c *client) ListGroups(ctx context.Context) ([]string, error) {
	admin, err := c.admin()
	if err != nil {
		return nil, err
	}
	listed, err := admin.ListGroups(ctx)
	return listed.Groups(), err
}

func (c *client) DescribeGroup(ctx context.Context, group string) (string, int, error) {
	admin, err := c.admin()
	if err != nil {
		return "", 0, err
	}
	described, err := admin.DescribeGroups(ctx, group)
	if err != nil {
		return "", 0, err
	}
	return described[group].State, len(described[group].Members), described[group].Err
}

func (c *client) DeleteGroup(ctx context.Context, group string) error {
	admin, err := c.admin()
	if err != nil {
		return err
	}
	answer, err := admin.DeleteGroup(ctx, group)
	if err != nil {
		return err
	}
	return answer.Err
}

func (c *client) CommitFor(ctx context.Context, group, topic string, partition int32, offset int64) error {
	admin, err := c.admin()
	if err != nil {
		return err
	}
	var offsets kadm.Offsets
	offsets.AddOffset(topic, partition, offset, -1)
	return admin.CommitAllOffsets(ctx, group, offsets)
}

func (c *client) Committed(ctx context.Context, group, topic string, partition int32) (int64, error) {
	admin, err := c.admin()
	if err != nil {
		return -1, err
	}
	fetched, err := admin.FetchOffsets(ctx, group)
	if err != nil {
		return -1, err
	}
	if found, ok := fetched.Lookup(topic, partition); ok {
		return found.At, found.Err
	}
	return -1, nil
}

func (c *client) DeleteOffset(ctx context.Context, group, topic string, partition int32) error {
	admin, err := c.admin()
	if err != nil {
		return err
	}
	var places kadm.TopicsSet
	places.Add(topic, partition)
	answer, err := admin.DeleteOffsets(ctx, group, places)
	if err != nil {
		return err
	}
	return answer.Error()
}

func (c *client) SetConfig(ctx context.Context, topic, name, value string) error {
	admin, err := c.admin()
	if err != nil {
		return err
	}
	answers, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: name, Value: &value}}, topic)
	if err != nil {
		return err
	}
	return answers[0].Err
}

func (c *client) GetConfig(ctx context.Context, topic, name string) (string, error) {
	admin, err := c.admin()
	if err != nil {
		return "", err
	}
	described, err := admin.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return "", err
	}
	for _, config := range described[0].Configs {
		if config.Key == name {
			return config.MaybeValue(), nil
		}
	}
	return "", described[0].Err
}

func (c *client) AddPartitions(ctx context.Context, topic string, total int) error {
	admin, err := c.admin()
	if err != nil {
		return err
	}
	answers, err := admin.UpdatePartitions(ctx, total, topic)
	if err != nil {
		return err
	}
	return answers[topic].Err
}

func (c *client) DeleteRecords(ctx context.Context, topic string, partition int32, before int64) error {
	admin, err := c.admin()
	if err != nil {
		return err
	}
	var offsets kadm.Offsets
	offsets.AddOffset(topic, partition, before, -1)
	answers, err := admin.DeleteRecords(ctx, offsets)
	if err != nil {
		return err
	}
	return answers.Error()
}
