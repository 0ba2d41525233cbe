package dev.jocko.golden;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** One message as schema/kafka describes it: which fields exist, and at which versions. */
final class Schema {
    final String name;
    final String type;
    final Versions valid;
    final Versions flexible;
    final List<Field> fields;
    private final Map<String, List<Field>> commonStructs = new HashMap<>();

    private Schema(JsonNode root) {
        name = root.get("name").textValue();
        type = root.get("type").textValue();
        valid = Versions.parse(root.get("validVersions"), Versions.NONE);
        flexible = Versions.parse(root.get("flexibleVersions"), Versions.NONE);
        if (root.has("commonStructs")) {
            for (JsonNode struct : root.get("commonStructs")) {
                commonStructs.put(struct.get("name").textValue(), parseFields(struct));
            }
        }
        fields = parseFields(root);
    }

    static Schema load(ObjectMapper mapper, Path file) throws IOException {
        return new Schema(mapper.readTree(file.toFile()));
    }

    /** The fields of a struct that is defined where it is used, or in commonStructs. */
    List<Field> structFields(Field field) {
        if (!field.fields.isEmpty()) {
            return field.fields;
        }
        List<Field> common = commonStructs.get(field.elementType());
        if (common == null) {
            throw new IllegalStateException(name + ": no struct named " + field.elementType());
        }
        return common;
    }

    private static List<Field> parseFields(JsonNode owner) {
        List<Field> fields = new ArrayList<>();
        if (owner.has("fields")) {
            for (JsonNode node : owner.get("fields")) {
                fields.add(new Field(node));
            }
        }
        return fields;
    }

    static final class Field {
        final String name;
        final String type;
        final Versions versions;
        final Versions nullable;
        final Versions tagged;
        final List<Field> fields;

        private Field(JsonNode node) {
            name = node.get("name").textValue();
            type = node.get("type").textValue();
            tagged = Versions.parse(node.get("taggedVersions"), Versions.NONE);
            // A field that names only its tagged versions exists in just those.
            versions = Versions.parse(node.get("versions"), tagged);
            nullable = Versions.parse(node.get("nullableVersions"), Versions.NONE);
            fields = parseFields(node);
        }

        boolean isArray() {
            return type.startsWith("[]");
        }

        String elementType() {
            return isArray() ? type.substring(2) : type;
        }

        /** The name under which Kafka's JSON converters know the field. */
        String jsonName() {
            return Character.toLowerCase(name.charAt(0)) + name.substring(1);
        }
    }

    /** An inclusive range of versions; NONE is empty. */
    record Versions(int lowest, int highest) {
        static final Versions NONE = new Versions(0, -1);

        static Versions parse(JsonNode node, Versions absent) {
            if (node == null) {
                return absent;
            }
            String text = node.textValue();
            if (text.equals("none")) {
                return NONE;
            }
            if (text.endsWith("+")) {
                return new Versions(Integer.parseInt(text.substring(0, text.length() - 1)), Short.MAX_VALUE);
            }
            int dash = text.indexOf('-');
            if (dash < 0) {
                return new Versions(Integer.parseInt(text), Integer.parseInt(text));
            }
            return new Versions(Integer.parseInt(text.substring(0, dash)), Integer.parseInt(text.substring(dash + 1)));
        }

        boolean contains(int version) {
            return lowest <= version && version <= highest;
        }
    }
}
