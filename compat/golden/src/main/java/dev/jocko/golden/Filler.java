package dev.jocko.golden;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Base64;
import java.util.List;
import java.util.Random;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.SimpleRecord;

/**
 * Fills one message at one version with random values, as the JSON that Kafka's converters read. Only fields that
 * exist at the version are written, since the converters refuse a value that the version cannot carry.
 */
final class Filler {
    /** One byte to four bytes a character in UTF-8, with the signs that need escaping in JSON. */
    private static final int[] LETTERS = "abcxyzABC019-_. /\"\\\u00e9\u03a9\u20ac\u65e5\ud83d\ude80".codePoints().toArray();
    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

    private final Schema schema;
    private final int version;
    private final Random random;
    private final boolean full;

    /** A full instance leaves no array empty and nothing null, so that every field is seen at least once. */
    Filler(Schema schema, int version, Random random, boolean full) {
        this.schema = schema;
        this.version = version;
        this.random = random;
        this.full = full;
    }

    ObjectNode fill() {
        return struct(schema.fields, 0);
    }

    private ObjectNode struct(List<Schema.Field> fields, int depth) {
        ObjectNode object = NODES.objectNode();
        for (Schema.Field field : fields) {
            if (!field.versions.contains(version)) {
                continue;
            }
            boolean tagged = field.tagged.contains(version) && schema.flexible.contains(version);
            if (!full && tagged && random.nextInt(3) == 0) {
                continue; // Left at its default: not on the wire at all.
            }
            object.set(field.jsonName(), value(field, depth));
        }
        return object;
    }

    private JsonNode value(Schema.Field field, int depth) {
        if (!full && field.nullable.contains(version) && random.nextInt(4) == 0) {
            return NODES.nullNode();
        }
        if (!field.isArray()) {
            return single(field, depth);
        }
        ArrayNode array = NODES.arrayNode();
        int count = random.nextInt(depth < 2 ? 4 : 3);
        if (full) {
            count = Math.max(1, count);
        }
        for (int i = 0; i < count; i++) {
            array.add(single(field, depth));
        }
        return array;
    }

    private JsonNode single(Schema.Field field, int depth) {
        return switch (field.elementType()) {
            case "bool" -> NODES.booleanNode(random.nextBoolean());
            case "int8" -> NODES.numberNode(integer(Byte.MIN_VALUE, Byte.MAX_VALUE));
            case "int16" -> NODES.numberNode(integer(Short.MIN_VALUE, Short.MAX_VALUE));
            case "uint16" -> NODES.numberNode(integer(0, 0xffff));
            case "int32" -> NODES.numberNode(integer(Integer.MIN_VALUE, Integer.MAX_VALUE));
            case "uint32" -> NODES.numberNode(integer(0, 0xffff_ffffL));
            case "int64" -> NODES.numberNode(integer(Long.MIN_VALUE, Long.MAX_VALUE));
            case "float64" -> NODES.numberNode(real());
            case "uuid" -> NODES.textNode(uuid().toString());
            case "string" -> NODES.textNode(text());
            case "bytes" -> NODES.textNode(base64(bytes()));
            case "records" -> NODES.textNode(base64(records()));
            default -> struct(schema.structFields(field), depth + 1);
        };
    }

    private long integer(long lowest, long highest) {
        return switch (random.nextInt(6)) {
            case 0 -> lowest;
            case 1 -> highest;
            case 2 -> Math.max(lowest, -1);
            case 3 -> random.nextInt(100);
            default -> highest - lowest > 0 ? lowest + Math.floorMod(random.nextLong(), highest - lowest) : random.nextLong();
        };
    }

    private double real() {
        return switch (random.nextInt(4)) {
            case 0 -> 0.0;
            case 1 -> -Double.MAX_VALUE;
            case 2 -> Double.MIN_VALUE;
            default -> random.nextGaussian() * 1000;
        };
    }

    private Uuid uuid() {
        return random.nextInt(8) == 0 ? Uuid.ZERO_UUID : new Uuid(random.nextLong(), random.nextLong());
    }

    private String text() {
        // Beyond 127 bytes the compact length takes a second byte.
        int length = random.nextInt(40) == 0 ? 130 : random.nextInt(10);
        StringBuilder text = new StringBuilder();
        for (int i = 0; i < length; i++) {
            text.appendCodePoint(LETTERS[random.nextInt(LETTERS.length)]);
        }
        return text.toString();
    }

    private byte[] bytes() {
        byte[] bytes = new byte[random.nextInt(40) == 0 ? 140 : random.nextInt(12)];
        random.nextBytes(bytes);
        return bytes;
    }

    /** A real record batch of none to two records, since records travel as whole batches. */
    private byte[] records() {
        SimpleRecord[] records = new SimpleRecord[random.nextInt(3)];
        for (int i = 0; i < records.length; i++) {
            records[i] = new SimpleRecord(1_700_000_000_000L + i, random.nextBoolean() ? bytes() : null, bytes());
        }
        var buffer = MemoryRecords.withRecords(Compression.NONE, records).buffer();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    private static String base64(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }
}
