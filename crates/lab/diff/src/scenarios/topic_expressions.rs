//! Subscriptions of the consumer protocol by regular expression (KIP-848): what they mean, which
//! are refused, and how a member goes from names to an expression and back.

use super::consumer_group_heartbeat::{delete, id, with_epoch};
use super::groups::{beat, consumer, describe_consumers, has_partitions, hurried, owning, ready};
use crate::run::{Run, Topic};
use crate::scenario::Scenario;
use anyhow::Result;
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::ConsumerGroupHeartbeatRequest;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario::new(ApiKey::ConsumerGroupHeartbeat, "regular expressions", expressions).since(1),
    Scenario::new(ApiKey::ConsumerGroupHeartbeat, "bad expressions", bad_expressions).since(1),
    Scenario::new(ApiKey::ConsumerGroupHeartbeat, "wishes that change", changing_wishes).since(1),
];

/// How many heartbeats a member may need to get what it wants.
const FOLLOWED_MAX: usize = 1_000;

/// Good and bad expressions without blanks.
const PATTERNS: &str = r#"
    ( ) [ ] * + ? a** a{2,1} a{1001} \ \Q \Qa\E (?=a) (?<n>a) (?P<n>a) \1 [z-a] (?i)x \p{L} \p{Foo}
    \pN [[:alpha:]] [[:foo:]] \d \z \Z \b ^none$ a{,2} a{2,} x*+ (?:a \x{110000} \x41 \u0041 a)(b \C
    a|* (|a) a{1000} (a{100}){100} (a{100}){10} (a{10}){101} ((a{2}){1000}) (a+){1000} [a&&b] [a--b]
    [+--] [a~~b] [[a]] [[a] [a[b] [[:alpha:] [:alpha:] (?x)a (?u)a (?R)a (?U)a+ (?z)a (?i:a) (?-i)a
    (?i-s)a (?i-)a (?) (? (?i (?>a) (?!a) (?<=a) (?<!a) (?P<n (?P<> (?P<1a>b) (?P<n-x>b) (?P<n.x>b)
    (?P=n) (?P<n>a)(?P<n>b) (?<n>a)(?<n>b) \<a a\> \b{start} \b{start-half} \B \U00000041 \u{41}
    \x{41} \x{0} \x4 \x \x{} \x{41 \07 \0 \00 \8 \a \e \f \n \r \t \v \cA \h \R \X \N \K \G \A \y \E
    a\E \Qa\Eb \Qa[ \Q\E \Q\E* \Qab\E+ a{ a{} a{1 a{1, {1} a{x} a{01} a{1,02} a{-1} a{99999999999}
    x{0} x{2,3}? x{2,3}+ x{2}{3} x?? x??? x*? x*?? x+*? (x*)* (?:x*)* ^* $* ^+ \b* \b+ (?i)* (?:)*
    (|)* ()* []a] [^]a] [] [^] [a-] [-a] [a-\d] [\d-z] [^a [a-b-c] [a-b-] [--a] [\Qa\E] [\b] [\z]
    [\-a] [\]] [\pL] [\p{Foo}] [^\d] [\D\d] [^\x00-\x{10FFFF}] \pL \PL \p{^L} \P{L} \P{^L} \p{Greek}
    \p{greek} \p{IsGreek} \p{Lu} \p{lu} \p{L \p \p{} \p{Any} \p{any} \p{Alphabetic} \p{Script=Greek}
    \p{sc=Greek} \p{L1} \p{Cn} \p{Hiragana} [[:word:]] [[:^alpha:]] [[:ALPHA:]] [[:ascii:]]
    [^[:alpha:]] [[:alpha:][:digit:]] \- \_ \. \& \~ \@ \% \/ \: a||b | || () (?:) (?:|) (a \S \W \w
    \s
"#;
/// Those that cannot stand there.
const ODD_PATTERNS: &[&str] = &[
    "\u{e9}",
    "(?#",
    "(?#x)",
    "\\#",
    "\\\u{e9}",
    "\\\"",
    "\\ ",
    "a{ 1}",
    "a b",
    "\n",
    "\\\n",
    "#a",
    "(?x) a # b",
    "(?i) x",
    "a{1, 2}",
    "",
];

fn expressions(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let (one, two) = (run.create("one", 2, &[])?, run.create("two", 1, &[])?);
    hurried(run, &[&group])?;
    let of = |pattern: &str| run_pattern(&one.name, pattern);
    let wish = |pattern: String, epoch: i64| ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(pattern),
        ..with_epoch(consumer(&group, &id(1), &[]), epoch)
    };
    let joined = run.send("nothing matches", &wish(of("none.*"), 0))?;
    let epoch = joined.int("/memberEpoch");
    run.send("nothing matches: beat", &beat(&group, &id(1), epoch))?;
    run.send("nothing matches: what is there", &describe_consumers(&[&group]))?;
    // How many heartbeats it takes is declared to differ: each expression begins anew.
    for (label, pattern) in
        [("one", "one"), ("two topics", "(one|two)"), ("all", ".*"), ("half a name", "on")]
    {
        run.send(format!("{label}: leave"), &beat(&group, &id(1), -1))?;
        let joined = run.send(format!("{label}: join"), &wish(of(pattern), 0))?;
        let epoch = joined.int("/memberEpoch");
        if label != "half a name" {
            let request = wish(of(pattern), epoch);
            run.until(format!("{label}: everything"), &request, has_partitions)?;
        }
    }
    run.send("the last leaves", &beat(&group, &id(1), -1))?;
    let both = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(vec![two.name.clone()]),
        ..wish(of("one"), 0)
    };
    let joined = run.send("a name and an expression", &both)?;
    let again = ConsumerGroupHeartbeatRequest {
        member_epoch: i32::try_from(joined.int("/memberEpoch"))?,
        ..both
    };
    run.until("a name and an expression: everything", &again, |answer| {
        answer.0["assignment"]["topicPartitions"].as_array().is_some_and(|all| all.len() == 2)
    })?;
    Ok(())
}

/// An expression over this run's topics only.
fn run_pattern(name: &str, pattern: &str) -> String {
    let prefix = name.split_once('-').map_or("", |(prefix, _)| prefix);
    format!("{prefix}-{pattern}")
}

fn bad_expressions(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    run.settle()?;
    let patterns = PATTERNS.split_whitespace().chain(ODD_PATTERNS.iter().copied());
    for pattern in patterns {
        let request = ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: None,
            subscribed_topic_regex: Some(pattern.to_owned()),
            ..consumer(&group, &id(1), &[])
        };
        run.send(format!("{pattern:?}"), &request)?;
        // By an epoch that nobody is at it shows whether there is such a member.
        run.send(format!("{pattern:?}: beat"), &beat(&group, &id(1), 1_000_000))?;
        run.ask(&beat(&group, &id(1), -1))?;
        run.ask(&delete(&group))?;
    }
    Ok(())
}

/// What a member wants: names, an expression, and the topics that follow.
type Wish<'a> = (&'a str, Option<Vec<&'a str>>, Option<String>, Vec<&'a Topic>);

/// From names to an expression and back, without leaving.
fn changing_wishes(run: &mut Run<'_>) -> Result<()> {
    let [group] = ready(run, ["group"])?;
    let (one, two) = (run.create("one", 2, &[])?, run.create("two", 1, &[])?);
    hurried(run, &[&group])?;
    let joined = run.send("names", &consumer(&group, &id(1), &[&two.name]))?;
    let mut epoch = joined.int("/memberEpoch");
    let of = |pattern: &str| Some(run_pattern(&one.name, pattern));
    let none = || Some(String::new());
    let wishes: [Wish<'_>; 6] = [
        ("an expression beside", None, of("one"), vec![&one, &two]),
        ("an expression instead", Some(vec![]), None, vec![&one]),
        ("another expression", None, of("t.*"), vec![&two]),
        ("names instead", Some(vec![&one.name]), none(), vec![&one]),
        ("both at once", Some(vec![&one.name]), of("two"), vec![&one, &two]),
        ("nothing", Some(vec![]), none(), vec![]),
    ];
    for (label, names, pattern, wanted) in wishes {
        let bad = ConsumerGroupHeartbeatRequest {
            subscribed_topic_regex: Some("(".into()),
            ..beat(&group, &id(1), epoch)
        };
        run.send(format!("{label}: first one that is no good"), &bad)?;
        let request = ConsumerGroupHeartbeatRequest {
            subscribed_topic_names: names
                .map(|names| names.into_iter().map(str::to_owned).collect()),
            subscribed_topic_regex: pattern,
            ..beat(&group, &id(1), epoch)
        };
        epoch = follow(run, request, &wanted)?;
        run.send(format!("{label}: what is there"), &describe_consumers(&[&group]))?;
    }
    Ok(())
}

/// Beats, and does as it is told, until it has these topics; records nothing, since how many
/// heartbeats that takes is declared to differ. Yields its epoch.
pub(super) fn follow(
    run: &mut Run<'_>,
    mut request: ConsumerGroupHeartbeatRequest,
    wanted: &[&Topic],
) -> Result<i64> {
    let mut wanted: Vec<(String, &Topic)> =
        wanted.iter().map(|topic| (topic.id.to_string(), *topic)).collect();
    wanted.sort_by(|one, other| one.0.cmp(&other.0));
    let (group, member) = (request.group_id.clone(), request.member_id.clone());
    for _ in 0..FOLLOWED_MAX {
        let mut epoch = run.ask(&request)?.int("/memberEpoch");
        let described = run.ask(&describe_consumers(&[&group]))?;
        let own = &described.0["groups"][0]["members"][0];
        epoch = own["memberEpoch"].as_i64().unwrap_or(epoch);
        let topics = |which: &str| {
            let topics = own[which]["topicPartitions"].as_array().into_iter().flatten();
            let ids = topics.filter_map(|each| each["topicId"].as_str());
            let mut ids: Vec<String> = ids.map(str::to_owned).collect();
            ids.sort_unstable();
            ids
        };
        let is_there = |ids: &[String]| ids.iter().eq(wanted.iter().map(|(id, _)| id));
        if is_there(&topics("assignment")) && is_there(&topics("targetAssignment")) {
            return Ok(epoch);
        }
        std::thread::park_timeout(std::time::Duration::from_millis(5));
        request = owning(beat(&group, &member, epoch), &[]);
    }
    anyhow::bail!("{member} does not get what it wants")
}
