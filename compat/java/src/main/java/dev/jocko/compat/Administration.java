package dev.jocko.compat;

import static dev.jocko.compat.Client.values;
import static dev.jocko.compat.Scenarios.check;

import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;

/** The scenarios of administration. */
final class Administration {
    private final Client client;
    private final Admin admin;

    private Administration(Client client) {
        this.client = client;
        admin = client.admin();
    }

    static void add(Scenarios scenarios, Client client) {
        Administration administration = new Administration(client);
        scenarios.add("admin-groups", administration::groups)
            .add("admin-offsets", administration::offsets)
            .add("admin-delete-offsets", administration::deleteOffsets)
            .add("admin-configs", administration::configs)
            .add("admin-partitions", administration::partitions)
            .add("admin-delete-records", administration::deleteRecords);
    }

    private Member member(String topic) {
        return new Member(client.bootstrap(), Groups.group(topic), Member.topic(topic));
    }

    private boolean listed(String group) throws Exception {
        return admin.listGroups().all().get().stream().anyMatch(each -> each.groupId().equals(group));
    }

    private void groups(String topic) throws Exception {
        String group = Groups.group(topic);
        client.create(topic, 2);
        try (Member member = member(topic)) {
            member.awaitHeld(2);
            check(listed(group), "the list does not name the group");
            ConsumerGroupDescription described = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            check(described.groupState() == GroupState.STABLE, "its state is %s", described.groupState());
            check(described.members().size() == 1, "it has %d members", described.members().size());
            int assigned = described.members().iterator().next().assignment().topicPartitions().size();
            check(assigned == 2, "its member is shown with %d partitions", assigned);
            try {
                admin.deleteConsumerGroups(List.of(group)).all().get();
                throw new AssertionError("a group with a member was deleted");
            } catch (ExecutionException refused) {
                check(refused.getCause() instanceof GroupNotEmptyException, "refused otherwise: %s", refused.getCause());
            }
        }
        admin.deleteConsumerGroups(List.of(group)).all().get();
        check(!listed(group), "the list names a deleted group");
    }

    private void offsets(String topic) throws Exception {
        String group = Groups.group(topic);
        TopicPartition place = new TopicPartition(topic, 0);
        client.create(topic, 1);
        client.produce(values(topic, 0, 10, "offsets"));
        admin.alterConsumerGroupOffsets(group, Map.of(place, new OffsetAndMetadata(4, "a note"))).all().get();
        OffsetAndMetadata committed = committed(group, place);
        check(committed.offset() == 4 && committed.metadata().equals("a note"), "committed is %s", committed);
        try (Member member = member(topic)) {
            check(member.awaitValues(6).get(0).equals("offsets-4"), "a member began elsewhere");
        }
    }

    private void deleteOffsets(String topic) throws Exception {
        String group = Groups.group(topic);
        TopicPartition place = new TopicPartition(topic, 0);
        client.create(topic, 1);
        admin.alterConsumerGroupOffsets(group, Map.of(place, new OffsetAndMetadata(0))).all().get();
        admin.deleteConsumerGroupOffsets(group, Set.of(place)).all().get();
        check(committed(group, place) == null, "an offset is there after it was deleted");
    }

    private OffsetAndMetadata committed(String group, TopicPartition place) throws Exception {
        return admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().get(place);
    }

    private void configs(String topic) throws Exception {
        client.create(topic, 1);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        alter(resource, "retention.ms", "123456");
        Client.until("the new value is shown", () -> {
            ConfigEntry entry = admin.describeConfigs(List.of(resource)).all().get().get(resource).get("retention.ms");
            return entry.value().equals("123456") && entry.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG;
        });
        try {
            alter(resource, "retention.ms", "soon");
            throw new AssertionError("a value that is no number was taken");
        } catch (ExecutionException refused) {
            check(refused.getCause() instanceof InvalidConfigurationException, "refused otherwise: %s", refused.getCause());
        }
    }

    private void alter(ConfigResource resource, String name, String value) throws Exception {
        var change = new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(change))).all().get();
    }

    private void partitions(String topic) throws Exception {
        client.create(topic, 1);
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get();
        Client.until("topic has three partitions", () -> client.partitions(topic) == 3);
        try {
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all().get();
            throw new AssertionError("a topic lost partitions");
        } catch (ExecutionException refused) {
            check(refused.getCause() instanceof InvalidPartitionsException, "refused otherwise: %s", refused.getCause());
        }
        client.produce(values(topic, 2, 5, "new"));
    }

    private void deleteRecords(String topic) throws Exception {
        TopicPartition place = new TopicPartition(topic, 0);
        client.create(topic, 1);
        client.produce(values(topic, 0, 10, "kept"));
        long low = admin.deleteRecords(Map.of(place, RecordsToDelete.beforeOffset(4))).lowWatermarks().get(place).get().lowWatermark();
        check(low == 4, "the first offset is %d instead of 4", low);
        long earliest = admin.listOffsets(Map.of(place, OffsetSpec.earliest())).all().get().get(place).offset();
        check(earliest == 4, "the earliest offset is %d instead of 4", earliest);
        try (Client.Reader reader = client.reader(topic).fromStart()) {
            Client.same(values(topic, 0, 10, "kept").subList(4, 10), reader.read(6), 4);
        }
    }
}
