// Writes to a topic or reads it in a group with franz-go, and prints what became of every record: a
// history for `cargo xtask chaos`, one JSON object a line, as docs/internals/chaos.md says.
//
//	history BOOTSTRAP TOPIC PARTITIONS PROCESS produce|consume
//
// It works until its standard input ends.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Records of a process are numbered below this, and processes above it.
const numberBits = 40

// How long a record is tried: longer than any fault lasts.
const deliveryMax = 60 * time.Second

type event struct {
	Op        string     `json:"op"`
	Process   int        `json:"process"`
	Topic     string     `json:"topic"`
	Partition int32      `json:"partition"`
	Value     uint64     `json:"value,omitempty"`
	Offset    *int64     `json:"offset,omitempty"`
	Outcome   string     `json:"outcome,omitempty"`
	Records   [][3]int64 `json:"records,omitempty"`
}

type program struct {
	bootstrap  []string
	topic      string
	partitions int32
	process    int
	lock       sync.Mutex
	out        *bufio.Writer
}

func main() {
	if len(os.Args) != 6 {
		fmt.Fprintln(os.Stderr, "usage: history BOOTSTRAP TOPIC PARTITIONS PROCESS produce|consume")
		os.Exit(2)
	}
	partitions, err := strconv.ParseInt(os.Args[3], 10, 32)
	exitOn(err)
	process, err := strconv.Atoi(os.Args[4])
	exitOn(err)
	p := &program{
		bootstrap:  strings.Split(os.Args[1], ","),
		topic:      os.Args[2],
		partitions: int32(partitions),
		process:    process,
		out:        bufio.NewWriter(os.Stdout),
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	if os.Args[5] == "produce" {
		exitOn(p.produce(ctx))
	} else {
		exitOn(p.consume(ctx))
	}
	exitOn(p.out.Flush())
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (p *program) tell(told event) {
	told.Process, told.Topic = p.process, p.topic
	line, err := json.Marshal(told)
	exitOn(err)
	p.lock.Lock()
	defer p.lock.Unlock()
	_, err = p.out.Write(append(line, '\n'))
	exitOn(err)
	exitOn(p.out.Flush())
}

// produce writes to all partitions in turn, many records on their way at once.
func (p *program) produce(ctx context.Context) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(p.bootstrap...),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RecordDeliveryTimeout(deliveryMax),
		kgo.ProduceRequestTimeout(5*time.Second),
		kgo.MaxBufferedRecords(500),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	for number := uint64(0); ctx.Err() == nil; number++ {
		value := uint64(p.process)<<numberBits | number
		record := &kgo.Record{
			Topic:     p.topic,
			Partition: int32(number % uint64(p.partitions)),
			Value:     []byte(valueOf(value)),
		}
		// Not the context that ends: what is on its way is to be answered.
		client.Produce(context.Background(), record, func(record *kgo.Record, err error) {
			told := event{Op: "send", Partition: record.Partition, Value: value}
			switch {
			case err == nil:
				told.Offset = &record.Offset
			case certainlyFailed(err):
				told.Outcome = "failed"
			default:
				told.Outcome = "unknown"
			}
			p.tell(told)
		})
		time.Sleep(2 * time.Millisecond)
	}
	return client.Flush(context.Background())
}

// Only what comes before any append.
func certainlyFailed(err error) bool {
	for _, certain := range []error{kerr.InvalidTopicException, kerr.MessageTooLarge, kerr.InvalidRecord} {
		if errors.Is(err, certain) {
			return true
		}
	}
	return false
}

// consume reads in a group.
func (p *program) consume(ctx context.Context) error {
	given := func(_ context.Context, _ *kgo.Client, assigned map[string][]int32) {
		for _, partition := range assigned[p.topic] {
			p.tell(event{Op: "seek", Partition: partition})
		}
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(p.bootstrap...),
		kgo.ConsumerGroup("franz-go-"+p.topic),
		kgo.ConsumeTopics(p.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6*time.Second),
		kgo.HeartbeatInterval(time.Second),
		kgo.OnPartitionsAssigned(given),
		// Else partitions may be given away while their records are handed over.
		kgo.BlockRebalanceOnPoll(),
	)
	if err != nil {
		return err
	}
	defer client.CloseAllowingRebalance()
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		fetches.EachPartition(func(fetched kgo.FetchTopicPartition) {
			var records [][3]int64
			for _, record := range fetched.Records {
				value, err := valueIn(record.Value)
				exitOn(err)
				records = append(records, [3]int64{record.Offset, int64(value), 1})
			}
			if len(records) > 0 {
				p.tell(event{Op: "poll", Partition: fetched.Partition, Records: records})
			}
		})
		client.AllowRebalance()
	}
	return nil
}

// A value is its number as text, and letters that follow from the number.
func valueOf(value uint64) string {
	letters := make([]byte, value%199)
	for at := range letters {
		letters[at] = 'a' + byte((value%26+uint64(at))%26)
	}
	return strconv.FormatUint(value, 10) + ":" + string(letters)
}

func valueIn(bytes []byte) (uint64, error) {
	number, _, _ := strings.Cut(string(bytes), ":")
	value, err := strconv.ParseUint(number, 10, 64)
	if err != nil || valueOf(value) != string(bytes) {
		return 0, fmt.Errorf("%q is nobody's value", bytes)
	}
	return value, nil
}
