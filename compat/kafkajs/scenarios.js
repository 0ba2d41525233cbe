'use strict'
// Runs the scenarios with KafkaJS. It reads in consumer groups only, so what is written here is counted by offsets and
// not read back; scenarios that are about reading stand in groups.js with those about groups.

const readline = require('node:readline')
const { Kafka, CompressionTypes, CompressionCodecs, logLevel } = require('kafkajs')
const lz4 = require('lz4-napi')
const SnappyCodec = require('kafkajs-snappy')
const { ZstdCodec } = require('zstd-codec')

// A scenario that takes longer has failed; nothing may hang.
const SCENARIO_MS_MAX = 20_000

CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: (encoder) => lz4.compressFrame(encoder.buffer),
  decompress: (buffer) => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from((await zstd()).compress(encoder.buffer)),
  decompress: async (buffer) => Buffer.from((await zstd()).decompress(buffer)),
})

const zstd = () => new Promise((resolve) => ZstdCodec.run((codec) => resolve(new codec.Simple())))

class Unsupported extends Error {}

function check (holds, otherwise) {
  if (!holds) throw new Error(otherwise)
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

const values = (count, prefix, partition = 0) =>
  Array.from({ length: count }, (_, i) => ({ key: null, value: `${prefix}-${i}`, partition }))

/** What one scenario works with. */
class Run {
  constructor (kafka, admin, topic) {
    Object.assign(this, { kafka, admin, topic, stopped: false })
  }

  group () {
    return `${this.topic}-group`
  }

  async until (what, condition) {
    let last
    while (!this.stopped) {
      try {
        if (await condition()) return
      } catch (refused) {
        last = refused
      }
      await pause(50)
    }
    throw new Error(`${what}: did not happen in time (last: ${last})`)
  }

  async partitions () {
    if (!(await this.admin.listTopics()).includes(this.topic)) return 0
    const { topics } = await this.admin.fetchTopicMetadata({ topics: [this.topic] })
    return topics[0].partitions.filter((p) => p.leader >= 0).length
  }

  async create (numPartitions = 1) {
    const topics = [{ topic: this.topic, numPartitions, replicationFactor: -1 }]
    // The client would give up waiting for leaders sooner than we do.
    const created = await this.admin.createTopics({ topics, waitForLeaders: false })
    check(created, 'the topic existed before')
    await this.until('topic has its partitions', async () => (await this.partitions()) === numPartitions)
    // The metadata may name a leader before that leader knows; a send in between would be retried and counted twice.
    await this.until('leaders answer', async () => (await this.endOffsets()).size === numPartitions)
  }

  async producer (options = {}) {
    const producer = this.kafka.producer({ ...options, allowAutoTopicCreation: false })
    await producer.connect()
    return producer
  }

  async produce (messages, { acks = -1, compression = CompressionTypes.None, ...options } = {}) {
    const producer = await this.producer(options)
    try {
      await producer.send({ topic: this.topic, messages, acks, compression })
    } finally {
      await producer.disconnect()
    }
  }

  async endOffsets () {
    const found = await this.admin.fetchTopicOffsets(this.topic)
    return new Map(found.map(({ partition, high }) => [partition, Number(high)]))
  }

  async write (messages, options) {
    await this.create()
    await this.produce(messages, options)
    await this.until('all records are counted', async () => (await this.endOffsets()).get(0) >= messages.length)
    const end = (await this.endOffsets()).get(0)
    check(end === messages.length, `end offset is ${end} after ${messages.length} records`)
  }
}

const codec = (compression) => (run) =>
  run.write(values(200, 'a text that compresses well '.repeat(10)), { compression })

const groups = require('./groups.js')({ check, values, Unsupported, awaitRestart })

const scenarios = {
  'create-describe-delete-topic': async (run) => {
    await run.create(3)
    const again = await run.admin.createTopics({ topics: [{ topic: run.topic, numPartitions: 3 }] })
    check(!again, 'a topic that exists was created again')
    await run.admin.deleteTopics({ topics: [run.topic] })
    await run.until('topic is gone', async () => (await run.partitions()) === 0)
  },
  'acks-0': (run) => run.write(values(20, 'a0'), { acks: 0 }),
  'acks-1': (run) => run.write(values(20, 'a1'), { acks: 1 }),
  'acks-all': (run) => run.write(values(20, 'all'), { acks: -1 }),
  'codec-none': codec(CompressionTypes.None),
  'codec-gzip': codec(CompressionTypes.GZIP),
  'codec-snappy': codec(CompressionTypes.Snappy),
  'codec-lz4': codec(CompressionTypes.LZ4),
  'codec-zstd': codec(CompressionTypes.ZSTD),
  headers: (run) => run.write([{ key: null, value: 'x', headers: { trace: ['1', '2'], empty: '' } }]),
  'null-key-value': (run) => run.write([{ key: null, value: 'v' }, { key: 'k', value: null }, { key: '', value: '' }]),
  'record-1mb': (run) => run.write([{ key: 'big', value: Buffer.alloc(990_000, 'x') }]),
  idempotent: (run) => run.write(values(1000, 'once'), { idempotent: true }),
  'batches-1-to-10000': async (run) => {
    await run.create()
    let end = 0
    for (const count of [1, 10, 1000, 10000]) {
      await run.produce(values(count, `of-${count}`))
      end += count
      const counted = (await run.endOffsets()).get(0)
      check(counted === end, `end offset is ${counted} instead of ${end}`)
    }
  },
  ...groups.reading,
  'many-partitions': async (run) => {
    await run.create(100)
    const messages = Array.from({ length: 100 }, (_, p) => values(3, `p${p}`, p)).flat()
    await run.produce(messages)
    const ends = await run.endOffsets()
    for (let p = 0; p < 100; p++) check(ends.get(p) === 3, `partition ${p} ends at ${ends.get(p)}`)
  },
  'delete-and-recreate': async (run) => {
    await run.create()
    await run.produce(values(5, 'old'))
    await run.admin.deleteTopics({ topics: [run.topic] })
    await run.until('topic can be created again', () =>
      run.admin.createTopics({
        topics: [{ topic: run.topic, numPartitions: 1, replicationFactor: -1 }],
        waitForLeaders: false,
      }))
    await run.until('topic is back', async () => (await run.partitions()) === 1 && (await run.endOffsets()).get(0) === 0)
    await run.produce(values(2, 'new'))
    const end = (await run.endOffsets()).get(0)
    check(end === 2, `end offset is ${end} after two records in a new topic`)
  },
  reconnect: async (run) => {
    await run.create()
    const producer = await run.producer()
    try {
      await producer.send({ topic: run.topic, messages: values(10, 'before') })
      await awaitRestart()
      await producer.send({ topic: run.topic, messages: values(10, 'after') })
      const end = (await run.endOffsets()).get(0)
      check(end === 20, `end offset is ${end} instead of 20`)
    } finally {
      await producer.disconnect()
    }
  },
  ...groups.scenarios,
}

/** Asks whoever runs this program to restart the broker, and waits until that is done. */
async function awaitRestart () {
  console.log('READY-FOR-RESTART')
  const restarted = await new Promise((resolve) => {
    const lines = readline.createInterface({ input: process.stdin })
    lines.once('line', () => {
      resolve(true)
      lines.close()
    })
    lines.once('close', () => resolve(false))
  })
  if (!restarted) throw new Unsupported('nobody is there to restart the broker')
}

async function attempt (kafka, admin, name) {
  const run = new Run(kafka, admin, `compat-kafkajs-${name}-${Date.now() % 1_000_000_000}`)
  // A broker's restart lies inside some.
  const limit = name === 'reconnect' || name.endsWith('-restart') ? 3 * SCENARIO_MS_MAX : SCENARIO_MS_MAX
  let timer
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, limit, `FAIL ${name}: still running after ${limit / 1000} s`)
  })
  const done = scenarios[name](run).then(
    () => `PASS ${name}`,
    (failed) => `${failed instanceof Unsupported ? 'SKIP' : 'FAIL'} ${name}: ${String(failed.message).replace(/\s+/g, ' ')}`,
  )
  const verdict = await Promise.race([done, late])
  run.stopped = true
  clearTimeout(timer)
  return verdict
}

async function main () {
  const [bootstrap, ...names] = process.argv.slice(2)
  if (!bootstrap) {
    console.error('usage: scenarios.js BOOTSTRAP [SCENARIO...]')
    process.exit(2)
  }
  console.log(`CLIENT kafkajs ${require('kafkajs/package.json').version}`)
  const kafka = new Kafka({
    clientId: 'compat',
    brokers: bootstrap.split(','),
    logLevel: process.env.COMPAT_TRACE ? logLevel.INFO : logLevel.NOTHING,
    retry: { initialRetryTime: 100, maxRetryTime: 1000, retries: 30 },
  })
  if (names[0] === '--member') {
    await groups.beKilled(kafka, names.slice(1))
    return
  }
  // An answer of "unknown topic" is final for our questions; a client that tries again for long would miss its turn.
  const admin = kafka.admin({ retry: { initialRetryTime: 50, retries: 5 } })
  await admin.connect()
  let failed = false
  for (const name of Object.keys(scenarios)) {
    if (names.length > 0 && !names.includes(name)) continue
    const verdict = await attempt(kafka, admin, name)
    failed ||= verdict.startsWith('FAIL')
    console.log(verdict)
  }
  process.exit(failed ? 1 : 0)
}

main().catch((failed) => {
  console.error(failed)
  process.exit(1)
})
