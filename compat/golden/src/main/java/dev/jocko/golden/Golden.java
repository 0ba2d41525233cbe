package dev.jocko.golden;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.apache.kafka.common.protocol.Message;

/**
 * Writes the golden corpus: for every message under schema/kafka and every version of it, what Kafka's own classes
 * read and write. Arguments: the schema folder, the folder to write to. The same classes give the same bytes.
 */
public final class Golden {
    private static final int RANDOM_INSTANCES = 3;
    private static final String[] FOLDERS = {"rpc", "group", "txn", "share", "storage"};
    private static final ObjectMapper MAPPER = new ObjectMapper();

    private final Map<String, List<String>> lines = new LinkedHashMap<>();
    private final List<String> problems = new ArrayList<>();
    private int messages;
    private int versions;
    private int withoutVersions;

    public static void main(String[] args) throws Exception {
        if (args.length != 2) {
            System.err.println("usage: Golden SCHEMA-FOLDER OUTPUT-FOLDER");
            System.exit(2);
        }
        Golden golden = new Golden();
        for (String folder : FOLDERS) {
            golden.addFolder(Path.of(args[0], folder), folder);
        }
        golden.write(Path.of(args[1]));
        System.exit(golden.problems.isEmpty() ? 0 : 1);
    }

    private void addFolder(Path folder, String corpus) throws IOException, ReflectiveOperationException {
        List<Path> files;
        try (Stream<Path> listing = Files.list(folder)) {
            files = listing.filter(file -> file.toString().endsWith(".json")).sorted().toList();
        }
        for (Path file : files) {
            Schema schema = Schema.load(MAPPER, file);
            Codec codec = Codec.find(schema);
            if (schema.valid.highest() < schema.valid.lowest()) {
                withoutVersions++;
            } else if (codec == null) {
                problems.add(schema.name + ": no class on the class path");
            } else {
                addMessage(schema, codec, corpusOf(schema, corpus));
            }
        }
    }

    private static String corpusOf(Schema schema, String folder) {
        return switch (schema.type) {
            case "request" -> folder + "-requests";
            case "response" -> folder + "-responses";
            case "header" -> folder + "-headers";
            default -> folder.equals("rpc") ? "rpc-data" : folder;
        };
    }

    private void addMessage(Schema schema, Codec codec, String corpus) throws ReflectiveOperationException {
        messages++;
        for (int version = schema.valid.lowest(); version <= schema.valid.highest(); version++) {
            versions++;
            try {
                addVersion(schema, codec, (short) version, corpus);
            } catch (RuntimeException refused) {
                problems.add(schema.name + " v" + version + ": " + refused);
            }
        }
    }

    private void addVersion(Schema schema, Codec codec, short version, String corpus) throws ReflectiveOperationException {
        Message defaults = codec.defaults();
        add(schema, codec, version, corpus, "default", defaults, codec.toJson(defaults, version));
        for (int instance = 0; instance < RANDOM_INSTANCES; instance++) {
            Random random = seeded(schema.name, version, instance);
            ObjectNode filled = new Filler(schema, version, random, instance == 0).fill();
            add(schema, codec, version, corpus, "random", codec.fromJson(filled, version), filled);
        }
        if (schema.flexible.contains(version)) {
            Random random = seeded(schema.name, version, RANDOM_INSTANCES);
            ObjectNode filled = new Filler(schema, version, random, false).fill();
            Message message = codec.fromJson(filled, version);
            Codec.addUnknownTags(schema, schema.fields, message, version, random);
            add(schema, codec, version, corpus, "unknown-tags", message, filled);
        }
    }

    private void add(Schema schema, Codec codec, short version, String corpus, String kind, Message message, JsonNode given)
            throws ReflectiveOperationException {
        byte[] bytes = codec.toBytes(message, version);
        if (!codec.fromBytes(bytes, version).equals(message)) {
            throw new IllegalStateException("does not read back what it wrote");
        }
        JsonNode json = reparsed(codec.toJson(message, version));
        keep(schema, schema.fields, json, reparsed(given), version);
        ObjectNode line = MAPPER.createObjectNode();
        line.put("message", schema.name);
        line.put("version", version);
        line.put("kind", kind);
        line.set("json", json);
        line.put("hex", HexFormat.of().formatHex(bytes));
        lines.computeIfAbsent(corpus, absent -> new ArrayList<>()).add(line.toString());
    }

    /**
     * Holds what the converter wrote against what was asked for. Two differences are its own habits: record bytes are
     * left out of its JSON (put back here), and a tagged field that happens to equal its default is not written.
     */
    private void keep(Schema schema, List<Schema.Field> fields, JsonNode json, JsonNode given, short version) {
        for (Schema.Field field : fields) {
            JsonNode wanted = given.get(field.jsonName());
            JsonNode written = json.get(field.jsonName());
            if (wanted == null || written == null) {
                if (wanted != written && !field.tagged.contains(version)) {
                    throw new IllegalStateException("field " + field.name + " is on one side only");
                }
            } else if (field.type.equals("records") && !wanted.isNull()) {
                ((ObjectNode) json).set(field.jsonName(), wanted);
            } else if (wanted.isObject()) {
                keep(schema, schema.structFields(field), written, wanted, version);
            } else if (wanted.isArray() && !wanted.isEmpty() && wanted.get(0).isObject()) {
                for (int i = 0; i < wanted.size(); i++) {
                    keep(schema, schema.structFields(field), written.get(i), wanted.get(i), version);
                }
            } else if (!wanted.equals(written)) {
                throw new IllegalStateException("field " + field.name + ": asked " + wanted + ", wrote " + written);
            }
        }
    }

    /** The same tree with the number types that parsing gives, so that an int and a short of one value are equal. */
    private static JsonNode reparsed(JsonNode node) {
        try {
            return MAPPER.readTree(node.toString());
        } catch (IOException impossible) {
            throw new IllegalStateException(impossible);
        }
    }

    /** A generator of its own for each instance: a new message or version leaves the others as they were. */
    private static Random seeded(String name, int version, int instance) {
        return new Random(31L * (31L * name.hashCode() + version) + instance);
    }

    private void write(Path folder) throws IOException {
        Files.createDirectories(folder);
        int count = 0;
        for (Map.Entry<String, List<String>> corpus : lines.entrySet()) {
            Path file = folder.resolve(corpus.getKey() + ".jsonl.gz");
            // GZIPOutputStream writes no time stamp and no name: the bytes depend on the lines alone.
            try (BufferedWriter writer = new BufferedWriter(new OutputStreamWriter(
                    new GZIPOutputStream(Files.newOutputStream(file)) { { def.setLevel(9); } }, StandardCharsets.UTF_8))) {
                for (String line : corpus.getValue()) {
                    writer.write(line);
                    writer.write('\n');
                    count++;
                }
            }
            System.out.printf("%-14s %5d lines %8d bytes%n", corpus.getKey(), corpus.getValue().size(), Files.size(file));
        }
        System.out.printf("%d messages, %d message versions, %d instances; %d messages have no version left%n",
            messages, versions, count, withoutVersions);
        for (String problem : problems) {
            System.out.println("MISSING " + problem);
        }
    }
}
