package scenario

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// options vary a scenario: the protocol, or the assignor.
type vary func(*MemberOptions)

func classic(*MemberOptions)             {}
func consumer(options *MemberOptions)    { options.Consumer = true }
func cooperative(options *MemberOptions) { options.Cooperative = true }

var groupScenarios = slices.Concat(
	both("group-", classic),
	[]scenario{{"group-seek-time", seekTime}, {"group-cooperative", sharesSlowly(cooperative)}},
	both("group-848-", consumer),
	[]scenario{
		{"group-848-cooperative", sharesSlowly(consumer)},
		{"admin-groups", adminGroups},
		{"admin-offsets", adminOffsets},
		{"admin-delete-offsets", adminDeleteOffsets},
		{"admin-configs", adminConfigs},
		{"admin-partitions", adminPartitions},
		{"admin-delete-records", adminDeleteRecords},
	},
)

func both(prefix string, how vary) []scenario {
	with := func(body func(*run, vary) error) func(*run) error { return func(r *run) error { return body(r, how) } }
	return []scenario{
		{prefix + "read", with(groupRead)},
		{prefix + "share", with(groupShare)},
		{prefix + "leave", with(groupLeave)},
		{prefix + "killed", with(groupKilled)},
		{prefix + "static", with(groupStatic)},
		{prefix + "commit-sync", with(groupCommit(false))},
		{prefix + "commit-async", with(groupCommit(true))},
		{prefix + "regex", with(groupRegex)},
		{prefix + "restart", with(groupRestart)},
	}
}

func (r *run) group() string { return r.topic + "-group" }

func (r *run) admin() Administrator { return r.client.(Administrator) }

func (r *run) member(how ...vary) (Member, error) {
	options := MemberOptions{Group: r.group(), Topics: []string{r.topic}}
	for _, each := range how {
		each(&options)
	}
	opened, err := r.admin().NewMember(r.ctx, options)
	if err != nil {
		return nil, fmt.Errorf("new member: %w", err)
	}
	return opened, nil
}

// fill writes ten records to each of so many partitions.
func (r *run) fill(partitions int32, prefix string) error {
	var records []Record
	for p := range partitions {
		for _, record := range values(10, fmt.Sprintf("%s%d", prefix, p)) {
			record.Partition = p
			records = append(records, record)
		}
	}
	return r.produce(ProducerOptions{Acks: AcksAll}, records)
}

func (r *run) awaitHeld(member Member, count int) error {
	return r.until(fmt.Sprintf("member holds %d partitions", count), func() (bool, error) {
		held, err := member.Box().Held()
		return len(held) == count, err
	})
}

func (r *run) awaitRecords(member Member, count int) ([]Record, error) {
	err := r.until(fmt.Sprintf("member receives %d records", count), func() (bool, error) {
		got, err := member.Box().Received()
		return len(got) >= count, err
	})
	if err != nil {
		return nil, err
	}
	got, _ := member.Box().Received()
	if len(got) != count {
		return nil, fmt.Errorf("received %d records instead of %d", len(got), count)
	}
	return got, nil
}

// receives: the member receives the ten records of each partition it holds, once, and nothing else.
func (r *run) receives(member Member, prefix string) error {
	held, _ := member.Box().Held()
	got, err := r.awaitRecords(member, 10*len(held))
	if err != nil {
		return err
	}
	var have, want []string
	for _, record := range got {
		have = append(have, string(record.Value))
	}
	for _, p := range held {
		for i := range 10 {
			want = append(want, fmt.Sprintf("%s%d-%d", prefix, p, i))
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		return fmt.Errorf("holds %v and received %v", held, have)
	}
	member.Box().Forget()
	return nil
}

func (r *run) shared(one, other Member) error {
	return r.until("two members hold two of four partitions each", func() (bool, error) {
		a, err := one.Box().Held()
		if err != nil {
			return false, err
		}
		b, err := other.Box().Held()
		all := slices.Concat(a, b)
		slices.Sort(all)
		return len(a) == 2 && slices.Equal(all, []int32{0, 1, 2, 3}), err
	})
}

// two makes a topic of four partitions and two members that share them.
func (r *run) two(first, second []vary) (Member, Member, error) {
	if err := r.create(4); err != nil {
		return nil, nil, err
	}
	one, err := r.member(first...)
	if err != nil {
		return nil, nil, err
	}
	other, err := r.member(second...)
	if err != nil {
		one.Close()
		return nil, nil, err
	}
	if err := r.shared(one, other); err != nil {
		one.Close()
		other.Close()
		return nil, nil, err
	}
	return one, other, nil
}

func groupRead(r *run, how vary) error {
	if err := r.create(2); err != nil {
		return err
	}
	if err := r.fill(2, "read"); err != nil {
		return err
	}
	member, err := r.member(how)
	if err != nil {
		return err
	}
	defer member.Close()
	if err := r.awaitHeld(member, 2); err != nil {
		return err
	}
	return r.receives(member, "read")
}

func groupShare(r *run, how vary) error {
	one, other, err := r.two([]vary{how}, []vary{how})
	if err != nil {
		return err
	}
	defer one.Close()
	defer other.Close()
	if err := r.fill(4, "shared"); err != nil {
		return err
	}
	return errors.Join(r.receives(one, "shared"), r.receives(other, "shared"))
}

// takesOver: a member that is alone receives all.
func (r *run) takesOver(member Member) error {
	if err := r.awaitHeld(member, 4); err != nil {
		return err
	}
	if err := r.fill(4, "over"); err != nil {
		return err
	}
	return r.receives(member, "over")
}

func groupLeave(r *run, how vary) error {
	stays, leaves, err := r.two([]vary{how}, []vary{how})
	if err != nil {
		return err
	}
	defer stays.Close()
	leaves.Close()
	return r.takesOver(stays)
}

func groupKilled(r *run, how vary) error {
	if err := r.create(4); err != nil {
		return err
	}
	stays, err := r.member(how)
	if err != nil {
		return err
	}
	defer stays.Close()
	if err := r.awaitHeld(stays, 4); err != nil {
		return err
	}
	var options MemberOptions
	how(&options)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	other := exec.CommandContext(r.ctx, self, os.Args[1], "--member", r.group(), r.topic, fmt.Sprint(options.Consumer))
	if err := other.Start(); err != nil {
		return err
	}
	err = r.awaitHeld(stays, 2)
	_ = other.Process.Kill()
	_ = other.Wait()
	if err != nil {
		return err
	}
	return r.takesOver(stays)
}

// beKilled is a program of one member, there to be killed.
func beKilled(r *run, words []string) {
	_, err := r.admin().NewMember(r.ctx, MemberOptions{Group: words[0], Topics: words[1:2], Consumer: words[2] == "true"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	select {}
}

// groupStatic: a static member that comes back within its session has what it had, and the other notices nothing.
func groupStatic(r *run, how vary) error {
	named := func(name string) []vary {
		return []vary{how, func(options *MemberOptions) { options.Instance = name }}
	}
	stays, goes, err := r.two(named("one"), named("two"))
	if err != nil {
		return err
	}
	defer stays.Close()
	had, _ := goes.Box().Held()
	before := stays.Box().Moves()
	goes.Close()
	back, err := r.member(named("two")...)
	if err != nil {
		return err
	}
	defer back.Close()
	if err := r.awaitHeld(back, 2); err != nil {
		return err
	}
	if has, _ := back.Box().Held(); !slices.Equal(had, has) {
		return fmt.Errorf("held %v before and %v after", had, has)
	}
	if err := r.fill(4, "back"); err != nil {
		return err
	}
	if err := errors.Join(r.receives(stays, "back"), r.receives(back, "back")); err != nil {
		return err
	}
	if after := stays.Box().Moves(); after != before {
		return fmt.Errorf("the other member was rebalanced: %v, then %v", before, after)
	}
	return nil
}

// resumes: a new member begins with these records.
func (r *run) resumes(how vary, wanted []Record, first int64) error {
	member, err := r.member(how)
	if err != nil {
		return err
	}
	defer member.Close()
	got, err := r.awaitRecords(member, len(wanted))
	if err != nil {
		return err
	}
	return same(wanted, got, first)
}

func (r *run) awaitCommitted(offset int64) error {
	return r.until(fmt.Sprintf("offset %d is committed", offset), func() (bool, error) {
		have, err := r.admin().Committed(r.ctx, r.group(), r.topic, 0)
		return have == offset, err
	})
}

func groupCommit(background bool) func(*run, vary) error {
	return func(r *run, how vary) error {
		if err := r.create(1); err != nil {
			return err
		}
		if err := r.produce(ProducerOptions{Acks: AcksAll}, values(10, "first")); err != nil {
			return err
		}
		member, err := r.member(how)
		if err != nil {
			return err
		}
		_, err = r.awaitRecords(member, 10)
		if err == nil {
			err = member.Commit(r.ctx, background)
		}
		if err == nil {
			err = r.awaitCommitted(10)
		}
		member.Close()
		if err != nil {
			return err
		}
		second := values(10, "second")
		if err := r.produce(ProducerOptions{Acks: AcksAll}, second); err != nil {
			return err
		}
		return r.resumes(how, second, 10)
	}
}

// groupRegex: topics are found by a pattern: one that exists, and one that is made while the member is there.
func groupRegex(r *run, how vary) error {
	topic, group := r.topic, r.group()
	for _, name := range []string{topic + "-early", "other-" + topic} {
		r.topic = name
		if err := r.create(1); err != nil {
			return err
		}
		if err := r.produce(ProducerOptions{Acks: AcksAll}, values(10, name[:5])); err != nil {
			return err
		}
	}
	member, err := r.member(how, func(options *MemberOptions) {
		options.Topics, options.Pattern, options.Group = nil, "^"+topic+"-.*", group
	})
	if err != nil {
		return err
	}
	defer member.Close()
	if _, err := r.awaitRecords(member, 10); err != nil {
		return err
	}
	// An eager rebalance makes members begin anew at what was committed.
	if err := member.Commit(r.ctx, false); err != nil {
		return err
	}
	r.topic = topic + "-late"
	if err := r.create(1); err != nil {
		return err
	}
	if err := r.produce(ProducerOptions{Acks: AcksAll}, values(10, "late")); err != nil {
		return err
	}
	got, err := r.awaitRecords(member, 20)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(got, func(record Record) bool { return strings.HasPrefix(string(record.Value), "other") }) {
		return errors.New("read what does not match")
	}
	return nil
}

// groupRestart: members go on over a restart of the broker, and so do the offsets they committed.
func groupRestart(r *run, how vary) error {
	if err := r.create(1); err != nil {
		return err
	}
	if err := r.produce(ProducerOptions{Acks: AcksAll}, values(10, "before")); err != nil {
		return err
	}
	member, err := r.member(how)
	if err != nil {
		return err
	}
	closed := false
	defer func() {
		if !closed {
			member.Close()
		}
	}()
	if _, err := r.awaitRecords(member, 10); err != nil {
		return err
	}
	if err := member.Commit(r.ctx, false); err != nil {
		return err
	}
	if err := awaitRestart(); err != nil {
		return err
	}
	if err := r.produce(ProducerOptions{Acks: AcksAll}, values(10, "after")); err != nil {
		return err
	}
	// A client that joined anew after the restart may fail to commit for its former membership, and begins again at
	// what was committed.
	if err := r.until("all is read and committed", func() (bool, error) {
		got, err := member.Box().Received()
		offsets := make(map[int64]bool)
		for _, record := range got {
			offsets[record.Offset] = true
		}
		if err != nil || len(offsets) < 20 {
			return false, err
		}
		if err := member.Commit(r.ctx, false); err != nil {
			return false, err
		}
		committed, err := r.admin().Committed(r.ctx, r.group(), r.topic, 0)
		return committed == 20, err
	}); err != nil {
		return err
	}
	member.Close()
	closed = true
	resumed := values(1, "resumed")
	if err := r.produce(ProducerOptions{Acks: AcksAll}, resumed); err != nil {
		return err
	}
	return r.resumes(how, resumed, 20)
}

func seekTime(r *run) error {
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
	member, err := r.member(classic)
	if err != nil {
		return err
	}
	defer member.Close()
	if _, err := r.awaitRecords(member, 10); err != nil {
		return err
	}
	member.Box().Forget()
	if err := member.SeekTime(r.ctx, r.topic, 0, base.Add(3500*time.Millisecond)); err != nil {
		return fmt.Errorf("seek: %w", err)
	}
	got, err := r.awaitRecords(member, 6)
	if err != nil {
		return err
	}
	return same(records[4:], got, 4)
}

// sharesSlowly: when another joins, a member gives up what the other gets and keeps the rest without a pause.
func sharesSlowly(how vary) func(*run) error {
	return func(r *run) error {
		if err := r.create(4); err != nil {
			return err
		}
		first, err := r.member(how)
		if err != nil {
			return err
		}
		defer first.Close()
		if err := r.awaitHeld(first, 4); err != nil {
			return err
		}
		second, err := r.member(how)
		if err != nil {
			return err
		}
		err = r.shared(first, second)
		if err == nil {
			err = r.fill(4, "shared")
		}
		if err == nil {
			err = errors.Join(r.receives(first, "shared"), r.receives(second, "shared"))
		}
		if err == nil {
			err = errors.Join(first.Commit(r.ctx, false), second.Commit(r.ctx, false))
		}
		second.Close()
		if err != nil {
			return err
		}
		if err := r.awaitHeld(first, 4); err != nil {
			return err
		}
		if taken := first.Box().Moves()[0]; taken != 2 {
			return fmt.Errorf("%d partitions were taken instead of 2", taken)
		}
		return nil
	}
}
