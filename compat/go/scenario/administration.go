package scenario

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

func adminGroups(r *run) error {
	if err := r.create(2); err != nil {
		return err
	}
	member, err := r.member()
	if err != nil {
		return err
	}
	err = r.awaitHeld(member, 2)
	if err == nil {
		err = r.whileThere()
	}
	member.Close()
	if err != nil {
		return err
	}
	if err := r.until("group is deleted", func() (bool, error) {
		err := r.admin().DeleteGroup(r.ctx, r.group())
		return err == nil, err
	}); err != nil {
		return err
	}
	groups, err := r.admin().ListGroups(r.ctx)
	if slices.Contains(groups, r.group()) {
		return errors.New("the list names a deleted group")
	}
	return err
}

// whileThere looks at a group that has one member.
func (r *run) whileThere() error {
	groups, err := r.admin().ListGroups(r.ctx)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	if !slices.Contains(groups, r.group()) {
		return errors.New("the list does not name the group")
	}
	state, members, err := r.admin().DescribeGroup(r.ctx, r.group())
	if err != nil {
		return fmt.Errorf("describe: %w", err)
	}
	if !strings.EqualFold(state, "stable") || members != 1 {
		return fmt.Errorf("described as %s with %d members", state, members)
	}
	if err := r.admin().DeleteGroup(r.ctx, r.group()); err == nil {
		return errors.New("a group with a member was deleted")
	}
	return nil
}

func adminOffsets(r *run) error {
	if err := r.create(1); err != nil {
		return err
	}
	records := values(10, "offsets")
	if err := r.produce(ProducerOptions{Acks: AcksAll}, records); err != nil {
		return err
	}
	if err := r.admin().CommitFor(r.ctx, r.group(), r.topic, 0, 4); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if have, err := r.admin().Committed(r.ctx, r.group(), r.topic, 0); err != nil || have != 4 {
		return fmt.Errorf("committed is %d instead of 4 (%v)", have, err)
	}
	return r.resumes(classic, records[4:], 4)
}

func adminDeleteOffsets(r *run) error {
	if err := r.create(1); err != nil {
		return err
	}
	if err := r.admin().CommitFor(r.ctx, r.group(), r.topic, 0, 0); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if err := r.admin().DeleteOffset(r.ctx, r.group(), r.topic, 0); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	have, err := r.admin().Committed(r.ctx, r.group(), r.topic, 0)
	if have != -1 {
		return fmt.Errorf("offset %d is there after it was deleted", have)
	}
	return err
}

func adminConfigs(r *run) error {
	if err := r.create(1); err != nil {
		return err
	}
	if err := r.admin().SetConfig(r.ctx, r.topic, "retention.ms", "123456"); err != nil {
		return fmt.Errorf("set: %w", err)
	}
	if err := r.until("the new value is shown", func() (bool, error) {
		have, err := r.admin().GetConfig(r.ctx, r.topic, "retention.ms")
		return have == "123456", err
	}); err != nil {
		return err
	}
	if err := r.admin().SetConfig(r.ctx, r.topic, "retention.ms", "soon"); err == nil {
		return errors.New("a value that is no number was taken")
	}
	return nil
}

func adminPartitions(r *run) error {
	if err := r.create(1); err != nil {
		return err
	}
	if err := r.admin().AddPartitions(r.ctx, r.topic, 3); err != nil {
		return fmt.Errorf("add: %w", err)
	}
	if err := r.until("topic has three partitions", func() (bool, error) {
		have, err := r.client.Partitions(r.ctx, r.topic)
		return have == 3, err
	}); err != nil {
		return err
	}
	if err := r.admin().AddPartitions(r.ctx, r.topic, 2); err == nil {
		return errors.New("a topic lost partitions")
	}
	return r.produce(ProducerOptions{Acks: AcksAll}, []Record{{Partition: 2, Value: []byte("new")}})
}

func adminDeleteRecords(r *run) error {
	if err := r.create(1); err != nil {
		return err
	}
	records := values(10, "kept")
	if err := r.produce(ProducerOptions{Acks: AcksAll}, records); err != nil {
		return err
	}
	if err := r.admin().DeleteRecords(r.ctx, r.topic, 0, 4); err != nil {
		return fmt.Errorf("delete records: %w", err)
	}
	got, err := r.read(0, Start{At: Beginning}, 6)
	if err != nil {
		return err
	}
	return same(records[4:], got, 4)
}
