'use strict'
// The scenarios of groups and administration with KafkaJS, and those about reading, which it does in groups only.

const { spawn } = require('node:child_process')
const { ConfigResourceTypes } = require('kafkajs')

// About the shortest session that the broker of the scenarios allows.
const SESSION_MS = 3000

/** A member of a group that reads until it is closed. */
class Member {
  constructor (run, { topics, group = run.group(), fromBeginning = true }) {
    Object.assign(this, { run, topics, fromBeginning, holds: [], received: [], moves: 0 })
    this.consumer = run.kafka.consumer({
      groupId: group,
      sessionTimeout: SESSION_MS,
      heartbeatInterval: 300,
      maxWaitTimeInMs: 200,
      metadataMaxAge: 500,
      allowAutoTopicCreation: false,
      retry: { initialRetryTime: 100, maxRetryTime: 500, retries: 100 },
    })
    this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => {
      this.moves++
      this.holds = Object.values(payload.memberAssignment).flat()
    })
    this.consumer.on(this.consumer.events.REBALANCING, () => { this.holds = [] })
  }

  async start () {
    await this.consumer.connect()
    await this.consumer.subscribe({ topics: this.topics, fromBeginning: this.fromBeginning })
    await this.consumer.run({
      autoCommit: false,
      eachMessage: async ({ topic, partition, message }) => {
        this.received.push({ topic, partition, ...message, offset: Number(message.offset) })
      },
    })
    return this
  }

  held (count) {
    return this.run.until(`member holds ${count} partitions`, async () => this.holds.length === count)
  }

  async got (count) {
    await this.run.until(`member receives ${count} records`, async () => this.received.length >= count)
    if (this.received.length !== count) throw new Error(`received ${this.received.length} records instead of ${count}`)
    return this.received
  }

  /** It receives the ten records of each partition it holds, once, and nothing else. */
  async receives (prefix) {
    const got = (await this.got(10 * this.holds.length)).map(({ value }) => value.toString()).sort()
    const wanted = this.holds.flatMap((p) => Array.from({ length: 10 }, (_, i) => `${prefix}${p}-${i}`)).sort()
    if (got.join() !== wanted.join()) throw new Error(`holds ${this.holds} and received ${got}`)
    this.received = []
  }

  commit () {
    const next = new Map()
    for (const { topic, partition, offset } of this.received) next.set(`${topic} ${partition}`, offset + 1)
    return this.consumer.commitOffsets([...next].map(([place, offset]) => {
      const [topic, partition] = place.split(' ')
      return { topic, partition: Number(partition), offset: String(offset) }
    }))
  }

  seek (offset) {
    this.consumer.seek({ topic: this.topics[0], partition: 0, offset: String(offset) })
  }

  close () {
    return this.consumer.disconnect()
  }
}

module.exports = ({ check, values, Unsupported, awaitRestart }) => {
  const member = (run, options = {}) => new Member(run, { topics: [run.topic], ...options }).start()

  /** Opens members one after the other, and closes them however the body ends. */
  const withMembers = async (run, count, body) => {
    const members = []
    try {
      for (let i = 0; i < count; i++) members.push(await member(run))
      return await body(...members)
    } finally {
      await Promise.all(members.map((each) => each.close()))
    }
  }

  const withMember = async (run, options, body) => {
    const one = await member(run, options)
    try {
      return await body(one)
    } finally {
      await one.close()
    }
  }

  const fill = (run, partitions, prefix) =>
    run.produce(Array.from({ length: partitions }, (_, p) => values(10, `${prefix}${p}`, p)).flat())

  const shared = (run, one, other) => run.until('two members hold two of four partitions each', async () =>
    one.holds.length === 2 && [...one.holds, ...other.holds].sort().join() === '0,1,2,3')

  const same = (wanted, got, first) => got.forEach((record, i) => {
    check(record.offset === first + i, `record ${i}: offset ${record.offset} instead of ${first + i}`)
    check(record.value.toString() === wanted[i].value, `record ${i}: read ${record.value}`)
  })

  const no = (reason) => async () => { throw new Unsupported(reason) }
  const refused = async (what, call) => {
    let answer
    try {
      answer = await call()
    } catch {
      return
    }
    throw new Error(`${what} (${answer})`)
  }

  const takesOver = async (run, one) => {
    await one.held(4)
    await fill(run, 4, 'over')
    await one.receives('over')
  }

  /** A reader of one partition: a group of its own that never commits. */
  const read = async (run, count, seek) => {
    const options = { group: `${run.group()}-${Math.random()}` }
    return withMember(run, options, async (one) => {
      await one.held(1)
      if (seek !== undefined) {
        one.seek(seek)
        one.received = []
      }
      await run.until('records are read', async () => one.received.filter(({ offset }) => offset >= (seek ?? 0)).length >= count)
      return one.received.filter(({ offset }) => offset >= (seek ?? 0))
    })
  }

  const timed = async (run) => {
    await run.create()
    const base = Date.now() - 60_000
    const records = values(10, 'time').map((record, i) => ({ ...record, timestamp: String(base + i * 1000) }))
    await run.produce(records)
    const [found] = await run.admin.fetchTopicOffsetsByTimestamp(run.topic, base + 3500)
    check(Number(found.offset) === 4, `the first offset at that time is ${found.offset} instead of 4`)
    return { records, offset: Number(found.offset) }
  }

  const committed = async (run) => {
    const [found] = await run.admin.fetchOffsets({ groupId: run.group(), topics: [run.topic] })
    return Number(found.partitions.find(({ partition }) => partition === 0)?.offset ?? -1)
  }

  const commitAndResume = async (run) => {
    await run.create()
    await run.produce(values(10, 'first'))
    await withMember(run, {}, async (one) => {
      await one.got(10)
      await one.commit()
    })
    const second = values(10, 'second')
    await run.produce(second)
    await withMember(run, {}, async (one) => same(second, await one.got(10), 10))
    check(await committed(run) === 10, 'another offset is committed')
  }

  const classic = {
    'group-read': async (run) => {
      await run.create(2)
      await fill(run, 2, 'read')
      await withMember(run, {}, async (one) => {
        await one.held(2)
        await one.receives('read')
      })
    },
    'group-share': async (run) => {
      await run.create(4)
      await withMembers(run, 2, async (one, other) => {
        await shared(run, one, other)
        await fill(run, 4, 'shared')
        await one.receives('shared')
        await other.receives('shared')
      })
    },
    'group-leave': async (run) => {
      await run.create(4)
      await withMembers(run, 2, async (one, other) => {
        await shared(run, one, other)
        await other.close()
        await takesOver(run, one)
      })
    },
    'group-killed': async (run) => {
      await run.create(4)
      await withMember(run, {}, async (one) => {
        await one.held(4)
        const program = [process.argv[1], process.argv[2], '--member', run.group(), run.topic]
        const other = spawn(process.argv[0], program, { stdio: 'ignore' })
        try {
          await one.held(2)
        } finally {
          other.kill('SIGKILL')
        }
        await takesOver(run, one)
      })
    },
    'group-static': no('the client has no static members'),
    'group-commit-sync': commitAndResume,
    'group-commit-async': no('the client always waits for a commit'),
    'group-regex': async (run) => {
      const { topic } = run
      const group = run.group()
      for (const name of [`${topic}-early`, `other-${topic}`]) {
        run.topic = name
        await run.create()
        await run.produce(values(10, name.slice(0, 5)))
      }
      // The client looks through the topics when it subscribes, and not again.
      await withMember(run, { topics: [new RegExp(`^${topic}-.*`)], group }, async (one) => {
        const got = await one.got(10)
        check(got.every((record) => record.topic === `${topic}-early`), 'read what does not match')
      })
    },
    'group-restart': async (run) => {
      await run.create()
      await run.produce(values(10, 'before'))
      await withMember(run, {}, async (one) => {
        await one.got(10)
        await one.commit()
        await awaitRestart()
        await run.produce(values(10, 'after'))
        await one.got(20)
        await run.until('offset is committed', async () => {
          await one.commit()
          return await committed(run) === 20
        })
      })
      await run.produce(values(1, 'resumed'))
      await withMember(run, {}, async (one) => same(values(1, 'resumed'), await one.got(1), 20))
    },
    'group-seek-time': async (run) => {
      const { records, offset } = await timed(run)
      await withMember(run, {}, async (one) => {
        await one.got(10)
        one.received = []
        one.seek(offset)
        same(records.slice(4), await one.got(6), 4)
      })
    },
    'group-cooperative': no('the client has no cooperative rebalance'),
  }

  const administration = {
    'admin-groups': async (run) => {
      const listed = async () => (await run.admin.listGroups()).groups.some(({ groupId }) => groupId === run.group())
      await run.create(2)
      await withMember(run, {}, async (one) => {
        await one.held(2)
        check(await listed(), 'the list does not name the group')
        const { groups: [described] } = await run.admin.describeGroups([run.group()])
        check(described.state === 'Stable' && described.members.length === 1, `described as ${described.state}`)
        await refused('a group with a member was deleted', () => run.admin.deleteGroups([run.group()]))
      })
      await run.admin.deleteGroups([run.group()])
      check(!(await listed()), 'the list names a deleted group')
    },
    'admin-offsets': async (run) => {
      await run.create()
      const records = values(10, 'offsets')
      await run.produce(records)
      await run.admin.setOffsets({ groupId: run.group(), topic: run.topic, partitions: [{ partition: 0, offset: '4' }] })
      check(await committed(run) === 4, 'another offset is committed')
      await withMember(run, {}, async (one) => same(records.slice(4), await one.got(6), 4))
    },
    'admin-delete-offsets': no('the client does not delete offsets of groups'),
    'admin-configs': async (run) => {
      await run.create()
      const resource = { type: ConfigResourceTypes.TOPIC, name: run.topic }
      const set = (value) => run.admin.alterConfigs({
        validateOnly: false,
        resources: [{ ...resource, configEntries: [{ name: 'retention.ms', value }] }],
      })
      await set('123456')
      await run.until('the new value is shown', async () => {
        const { resources: [{ configEntries }] } = await run.admin.describeConfigs({ resources: [resource] })
        return configEntries.find(({ configName }) => configName === 'retention.ms').configValue === '123456'
      })
      await refused('a value that is no number was taken', () => set('soon'))
    },
    'admin-partitions': async (run) => {
      await run.create()
      const grow = (count) => run.admin.createPartitions({ topicPartitions: [{ topic: run.topic, count }] })
      await grow(3)
      await run.until('topic has three partitions', async () => (await run.partitions()) === 3)
      await refused('a topic lost partitions', () => grow(2))
      await run.produce(values(5, 'new', 2))
    },
    'admin-delete-records': async (run) => {
      await run.create()
      const records = values(10, 'kept')
      await run.produce(records)
      await run.admin.deleteTopicRecords({ topic: run.topic, partitions: [{ partition: 0, offset: '4' }] })
      same(records.slice(4), await read(run, 6, 4), 4)
    },
  }

  const reading = {
    'read-from-start': async (run) => {
      await run.create()
      const records = values(50, 'start')
      for (const part of [records.slice(0, 20), records.slice(20, 21), records.slice(21)]) await run.produce(part)
      same(records, await read(run, 50), 0)
    },
    'read-from-end': async (run) => {
      await run.create()
      await run.produce(values(5, 'before'))
      const after = values(2, 'after')
      await withMember(run, { fromBeginning: false }, async (one) => {
        await one.held(1)
        // The client looks for the end with its first fetch; it has to stand there already.
        one.seek((await run.endOffsets()).get(0))
        await run.produce(after)
        same(after, await one.got(2), 5)
      })
    },
    'read-from-offset': async (run) => {
      await run.create()
      const records = values(100, 'offset')
      await run.produce(records)
      for (const offset of [0, 1, 57, 99]) same(records.slice(offset), await read(run, 100 - offset, offset), offset)
    },
    'read-from-timestamp': async (run) => {
      const { records, offset } = await timed(run)
      same(records.slice(4), await read(run, 6, offset), 4)
    },
    'long-poll-latency': no('the client does not say when it waits for a fetch'),
  }

  const names = [...Object.keys(classic).filter((name) => name !== 'group-seek-time')]
  const consumer = Object.fromEntries(names.map((name) =>
    [name.replace('group-', 'group-848-'), no('the client does not speak the consumer protocol (KIP-848)')]))

  /** A program of one member, there to be killed. */
  const beKilled = (kafka, [group, topic]) => new Member({ kafka, group: () => group }, { topics: [topic], group }).start()

  return { reading, scenarios: { ...classic, ...consumer, ...administration }, beKilled }
}
