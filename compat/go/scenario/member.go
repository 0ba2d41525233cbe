package scenario

import (
	"context"
	"slices"
	"sync"
	"time"
)

// SessionTimeout is about the shortest that the broker of the scenarios allows to members of classic groups.
const SessionTimeout = 3 * time.Second

// MemberOptions are the settings of members that scenarios vary.
type MemberOptions struct {
	Group string
	// Topics, or a Pattern for their names.
	Topics  []string
	Pattern string
	// Cooperative asks for the cooperative-sticky assignor.
	Cooperative bool
	// Instance makes a static member.
	Instance string
	// Consumer asks for the consumer protocol (KIP-848).
	Consumer bool
}

// Member reads in a group, in the background, until it is closed. It embeds an Inbox for what it learns.
type Member interface {
	Box() *Inbox
	// Commit commits what was received: at once and with the answer, or in the background.
	Commit(ctx context.Context, background bool) error
	// SeekTime goes on at the first record at or after a time.
	SeekTime(ctx context.Context, topic string, partition int32, at time.Time) error
	// Close leaves the group.
	Close()
}

// Administrator is what clients do to groups and topics, beside creating and deleting topics.
type Administrator interface {
	NewMember(ctx context.Context, options MemberOptions) (Member, error)

	ListGroups(ctx context.Context) ([]string, error)
	// DescribeGroup returns the state and how many members there are.
	DescribeGroup(ctx context.Context, group string) (string, int, error)
	DeleteGroup(ctx context.Context, group string) error
	CommitFor(ctx context.Context, group, topic string, partition int32, offset int64) error
	// Committed returns -1 where nothing is committed.
	Committed(ctx context.Context, group, topic string, partition int32) (int64, error)
	DeleteOffset(ctx context.Context, group, topic string, partition int32) error
	SetConfig(ctx context.Context, topic, name, value string) error
	GetConfig(ctx context.Context, topic, name string) (string, error)
	AddPartitions(ctx context.Context, topic string, total int) error
	DeleteRecords(ctx context.Context, topic string, partition int32, before int64) error
}

// Inbox collects what a member learns.
type Inbox struct {
	mutex      sync.Mutex
	held       []int32
	revoked    int
	rebalances int
	received   []Record
	failure    error
}

// Box lets an Inbox that is embedded stand for itself.
func (i *Inbox) Box() *Inbox { return i }

// Assign adds partitions.
func (i *Inbox) Assign(partitions ...int32) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.rebalances++
	i.held = append(i.held, partitions...)
	slices.Sort(i.held)
}

// Revoke takes partitions away.
func (i *Inbox) Revoke(partitions ...int32) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.revoked += len(partitions)
	i.held = slices.DeleteFunc(i.held, func(p int32) bool { return slices.Contains(partitions, p) })
}

// Receive adds records.
func (i *Inbox) Receive(records ...Record) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.received = append(i.received, records...)
}

// Fail keeps an error that ended the member.
func (i *Inbox) Fail(err error) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.failure = err
}

// Held returns the partitions it holds.
func (i *Inbox) Held() ([]int32, error) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	return slices.Clone(i.held), i.failure
}

// Received returns all records since the last Forget.
func (i *Inbox) Received() ([]Record, error) {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	return slices.Clone(i.received), i.failure
}

// Forget empties what was received.
func (i *Inbox) Forget() {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	i.received = nil
}

// Moves returns how many partitions were taken, and how often it was told what it holds.
func (i *Inbox) Moves() [2]int {
	i.mutex.Lock()
	defer i.mutex.Unlock()
	return [2]int{i.revoked, i.rebalances}
}
