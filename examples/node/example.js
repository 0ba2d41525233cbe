// Writes three records with KafkaJS and reads them back in a group.
'use strict'

const { Kafka, logLevel } = require('kafkajs')

const TOPIC = 'greetings-node'
const brokers = (process.argv[2] ?? 'localhost:9092').split(',')

async function createTopic(kafka) {
  const admin = kafka.admin()
  await admin.connect()
  try {
    // As many partitions and copies as the cluster thinks right; false says that it is there already.
    await admin.createTopics({ topics: [{ topic: TOPIC, numPartitions: -1, replicationFactor: -1 }] })
  } finally {
    await admin.disconnect()
  }
}

async function write(kafka) {
  const producer = kafka.producer({ idempotent: true })
  await producer.connect()
  try {
    for (let n = 1; n <= 3; n++) {
      const messages = [{ key: 'key', value: `hello ${n} from node` }]
      const [written] = await producer.send({ topic: TOPIC, acks: -1, messages })
      console.log(`wrote partition ${written.partition}, offset ${written.baseOffset}`)
    }
  } finally {
    await producer.disconnect()
  }
}

async function read(kafka) {
  const consumer = kafka.consumer({ groupId: 'readers-node' })
  await consumer.connect()
  let timer
  try {
    await consumer.subscribe({ topic: TOPIC, fromBeginning: true })
    let left = 3
    await new Promise((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`${left} records did not come`)), 30_000)
      const eachMessage = async ({ message }) => {
        console.log(`read ${message.value}`)
        if (--left === 0) resolve()
      }
      consumer.run({ eachMessage }).catch(reject)
    })
  } finally {
    clearTimeout(timer)
    await consumer.disconnect()
  }
}

async function main() {
  const kafka = new Kafka({ clientId: 'example', brokers, logLevel: logLevel.ERROR })
  await createTopic(kafka)
  await write(kafka)
  await read(kafka)
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
