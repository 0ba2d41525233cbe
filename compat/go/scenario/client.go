// Package scenario holds the compatibility scenarios for Go clients. Each client gives an adapter; the scenarios are
// written once, so that the same name means the same thing for all of them.
package scenario

import (
	"context"
	"errors"
	"time"
)

// ErrUnsupported is returned by an adapter for what its client cannot do; the scenario is then skipped.
var ErrUnsupported = errors.New("the client has no such feature")

// Header is one record header; keys may repeat.
type Header struct {
	Key   string
	Value []byte
}

// Record is a record as it is sent or was read. A nil key or value is Kafka's null.
type Record struct {
	Partition int32
	Key       []byte
	Value     []byte
	Headers   []Header
	// Timestamp is left to the client when zero.
	Timestamp time.Time
	// Offset is set on records that were read.
	Offset int64
}

// Acks is what a producer waits for.
type Acks int

// The three acknowledgement modes.
const (
	AcksNone   Acks = 0
	AcksLeader Acks = 1
	AcksAll    Acks = -1
)

// ProducerOptions are the settings that scenarios vary.
type ProducerOptions struct {
	Acks       Acks
	Codec      string // none, gzip, snappy, lz4, zstd
	Idempotent bool
}

// Start says where a reader begins.
type Start struct {
	At        Position
	Offset    int64
	Timestamp time.Time
}

// Position is a kind of start.
type Position int

// The places a reader can start at.
const (
	Beginning Position = iota
	End
	AtOffset
	AtTimestamp
)

// Client adapts one Kafka client.
type Client interface {
	// Name of the client, and the version that was built in.
	Name() string
	Module() string

	CreateTopic(ctx context.Context, topic string, partitions int) error
	DeleteTopic(ctx context.Context, topic string) error
	// Partitions returns how many partitions with a leader the topic has, 0 where there is no such topic.
	Partitions(ctx context.Context, topic string) (int, error)
	// EndOffset asks the broker for the offset after the last record.
	EndOffset(ctx context.Context, topic string, partition int32) (int64, error)

	NewProducer(ctx context.Context, topic string, options ProducerOptions) (Producer, error)
	// NewReader returns a reader whose start is already resolved.
	NewReader(ctx context.Context, topic string, partition int32, start Start) (Reader, error)
}

// Producer sends to one topic.
type Producer interface {
	// Send returns when all records are acknowledged (or written out, with AcksNone).
	Send(ctx context.Context, records []Record) error
	Close()
}

// Reader reads one partition.
type Reader interface {
	// Read returns exactly count records.
	Read(ctx context.Context, count int) ([]Record, error)
	Close()
}
