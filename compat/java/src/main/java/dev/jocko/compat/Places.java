package dev.jocko.compat;

import java.util.List;
import java.util.TreeSet;
import java.util.regex.Pattern;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.TopicPartitionInfo;

/** Which broker has what: waits until it is as wanted, and leaves out of what tools print that which is chance. */
final class Places {
    /** A partition that every broker has, as it is described; which one leads it, and their order, are chance. */
    private static final Pattern EVERYWHERE = Pattern.compile("Leader: \\d(\\s+)Replicas: \\d(?:,\\d)*(\\s+)Isr: [\\d,]+");

    /** Kafka takes nine seconds to notice that a broker is dead. */
    private static final long SECONDS_MAX = 60;

    private static final Pattern IN_SYNC = Pattern.compile("Isr: ([\\d,]+)");

    private final Admin admin;
    private final String[] addresses;
    private boolean exact;

    Places(Admin admin, String bootstrap) {
        this.admin = admin;
        addresses = bootstrap.split(",");
        exact = addresses.length == 1;
    }

    void matter(boolean exact) {
        this.exact = exact;
    }

    /** Waits for what a directive says. */
    void await(String[] words) throws InterruptedException {
        Client.until(String.join(" ", words), SECONDS_MAX, () -> switch (words[0]) {
            case "insync" -> partitions(words[1]).stream().allMatch(one -> one.isr().size() == one.replicas().size());
            case "away" -> partitions(words[1]).stream().flatMap(one -> one.isr().stream())
                .noneMatch(broker -> broker.id() == Integer.parseInt(words[2]));
            case "led" -> partitions(words[1]).stream().allMatch(Places::led);
            case "leaderless" -> partitions(words[1]).stream().noneMatch(Places::led);
            case "moved" -> admin.listPartitionReassignments().reassignments().get().isEmpty();
            default -> throw new IllegalArgumentException(words[0]);
        });
    }

    private static boolean led(TopicPartitionInfo partition) {
        return partition.leader() != null && !partition.leader().isEmpty();
    }

    private List<TopicPartitionInfo> partitions(String topic) throws Exception {
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions();
    }

    /** Addresses become words; so do numbers of brokers where they are chance. */
    String normal(String line) {
        String text = line;
        for (String address : addresses) {
            text = text.replace(address, "BROKER").replace("localhost" + address.substring(address.indexOf(':')), "BROKER");
            // A column each.
            text = text.replaceAll("\\b" + address.replace(":", "\\s+") + "\\b", "BROKER");
        }
        if (addresses.length == 1) {
            return text;
        }
        text = IN_SYNC.matcher(text).replaceAll(found -> "Isr: "
            + String.join(",", new TreeSet<>(List.of(found.group(1).split(",")))));
        text = text.replaceAll("BROKER \\(\\d\\)", "BROKER (ONE)")
            .replaceAll("^LeaderId:(\\s+)\\d", "LeaderId:$1 ONE")
            .replaceAll("^(MaxFollowerLag\\w*):(\\s+)\\d+", "$1:$2 N")
            .replaceAll("^\\d(\\s.*)\\b(Leader|Follower)\\b", "ONE$1$2")
            .replaceAll("^(ONE\\s+\\S+\\s+\\d+\\s+)\\d+", "$1N");
        return exact ? text : EVERYWHERE.matcher(text).replaceAll("Leader: ONE$1Replicas: SOME$2Isr: SOME");
    }
}
