package dev.jocko.golden;

import com.fasterxml.jackson.databind.JsonNode;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.nio.ByteBuffer;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.Readable;
import org.apache.kafka.common.protocol.types.RawTaggedField;

/** Kafka's generated class for one message together with its JSON converter, found by name. */
final class Codec {
    private static final String[] PACKAGES = {
        "org.apache.kafka.common.message",
        "org.apache.kafka.coordinator.group.generated",
        "org.apache.kafka.coordinator.transaction.generated",
        "org.apache.kafka.coordinator.share.generated",
        "org.apache.kafka.server.log.remote.metadata.storage.generated",
    };
    /** Above every tag that a schema uses, so an unknown tag stays unknown. */
    private static final int UNKNOWN_TAG_MIN = 100;

    private final Class<? extends Message> messageClass;
    private final Method readJson;
    private final Method writeJson;

    private Codec(Class<? extends Message> messageClass, Class<?> converter) throws ReflectiveOperationException {
        this.messageClass = messageClass;
        readJson = converter.getMethod("read", JsonNode.class, short.class);
        writeJson = converter.getMethod("write", messageClass, short.class);
    }

    /** The codec of a message, or null where no class of that name is on the class path. */
    static Codec find(Schema schema) throws ReflectiveOperationException {
        // Kafka's generator adds "Data" to the names of these three kinds, and of no others.
        boolean suffixed = switch (schema.type) {
            case "request", "response", "header" -> true;
            default -> false;
        };
        String simpleName = suffixed ? schema.name + "Data" : schema.name;
        for (String candidate : PACKAGES) {
            try {
                Class<? extends Message> found = Class.forName(candidate + "." + simpleName).asSubclass(Message.class);
                return new Codec(found, Class.forName(candidate + "." + simpleName + "JsonConverter"));
            } catch (ClassNotFoundException absentHere) {
                continue;
            }
        }
        return null;
    }

    Message defaults() throws ReflectiveOperationException {
        return messageClass.getConstructor().newInstance();
    }

    Message fromJson(JsonNode json, short version) throws ReflectiveOperationException {
        return (Message) call(readJson, json, version);
    }

    JsonNode toJson(Message message, short version) throws ReflectiveOperationException {
        return (JsonNode) call(writeJson, message, version);
    }

    byte[] toBytes(Message message, short version) {
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer buffer = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(buffer), cache, version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException(messageClass + " wrote less than its size");
        }
        return buffer.array();
    }

    Message fromBytes(byte[] bytes, short version) throws ReflectiveOperationException {
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        Message message = messageClass.getConstructor(Readable.class, short.class)
            .newInstance(new ByteBufferAccessor(buffer), version);
        if (buffer.hasRemaining()) {
            throw new IllegalStateException(messageClass + " read less than was written");
        }
        return message;
    }

    /**
     * Adds tagged fields that no schema knows, to this struct and to those inside it. Structs that the version lacks
     * are left alone: Kafka refuses to write anything but their default.
     */
    static void addUnknownTags(Schema schema, List<Schema.Field> fields, Message message, int version, Random random)
            throws ReflectiveOperationException {
        int tag = UNKNOWN_TAG_MIN;
        for (int count = random.nextInt(3); count > 0; count--) {
            tag += 1 + random.nextInt(200);
            byte[] data = new byte[random.nextInt(6)];
            random.nextBytes(data);
            message.unknownTaggedFields().add(new RawTaggedField(tag, data));
        }
        for (Schema.Field field : fields) {
            if (!field.versions.contains(version)) {
                continue;
            }
            Object value = message.getClass().getMethod(field.jsonName()).invoke(message);
            Collection<?> values = value instanceof Collection<?> many ? many : Collections.singleton(value);
            for (Object each : values) {
                if (each instanceof Message struct) {
                    addUnknownTags(schema, schema.structFields(field), struct, version, random);
                }
            }
        }
    }

    private static Object call(Method method, Object... arguments) throws ReflectiveOperationException {
        try {
            return method.invoke(null, arguments);
        } catch (InvocationTargetException thrown) {
            if (thrown.getCause() instanceof RuntimeException cause) {
                throw cause;
            }
            throw thrown;
        }
    }
}
