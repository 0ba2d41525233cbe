//! Brokers that start again find each other by what they know, wherever they are by then.

use super::{DEADLINE, Meeting, ask, ask_http, brokers, says};
use crate::http::get_at;
use jocko_testkit::{BrokerProcess, Options, free_ports, wait_until};
use serde_json::Value;

fn all_live(told: &Value) -> bool {
    let told = told.as_array().unwrap();
    told.len() == 3 && told.iter().all(|member| member["state"] == "live")
}

#[test]
fn brokers_that_start_again_without_join_find_who_has_moved() {
    let meeting = Meeting::new();
    let three = meeting.three([0, 1, 2]);
    let stopped: Vec<Options> = three.into_iter().map(|it| it.kill().unwrap()).collect();
    let fresh = free_ports::<4>().unwrap();
    // Nobody is told of anybody; all gossip somewhere else, and the first moves altogether.
    let again = |at: usize, mut options: Options| {
        let cluster = if at == 0 { fresh[3] } else { meeting.cluster[at] };
        options.arguments = vec![
            format!("--listen-cluster=127.0.0.1:{cluster}"),
            format!("--listen-gossip=127.0.0.1:{}", fresh[at]),
        ];
        BrokerProcess::spawn(options).unwrap()
    };
    let mut three: Vec<BrokerProcess> =
        stopped.into_iter().enumerate().map(|(at, options)| again(at, options)).collect();
    for process in &mut three {
        process.wait_ready().unwrap();
    }
    for process in &three {
        let told = ask_http(process, &["cluster", "members"], all_live);
        let moved = format!("127.0.0.1:{}", fresh[3]);
        assert!(told.as_array().unwrap().iter().any(|it| it["cluster"] == moved), "{told}");
        assert_eq!(brokers(process), 3);
    }
    ask(&three[0], &["topic", "create", "t", "--replication", "3"]);
}

#[test]
fn a_broker_that_finds_nobody_where_they_were_says_what_to_do() {
    let meeting = Meeting::new();
    let mut stopped: Vec<Options> =
        meeting.three([0, 1, 2]).into_iter().map(|it| it.kill().unwrap()).collect();
    let mut options = stopped.remove(0);
    options.arguments.retain(|argument| !argument.starts_with("--join"));
    let mut alone = BrokerProcess::spawn(options).unwrap();
    says(&alone, "2 of 3 voters cannot be reached");
    says(&alone, "if they have moved, name one with --join");
    // Whoever supervises it sees that it lives, though nothing told it that it has to wait.
    assert_eq!(get_at(alone.http_address(), "/livez"), (200, "ok\n".to_owned()));
    let (status, words) = get_at(alone.http_address(), "/readyz");
    assert_eq!(status, 503);
    for at in [1, 2] {
        let refused = format!("127.0.0.1:{}: Connection refused", meeting.cluster[at]);
        assert!(words.contains(&refused), "{words}");
    }
    assert!(!words.contains(&format!("127.0.0.1:{}: ", meeting.cluster[0])), "{words}");
    let mut second = BrokerProcess::spawn(stopped.remove(0)).unwrap();
    for process in [&mut alone, &mut second] {
        process.wait_ready().unwrap();
    }
    wait_until(DEADLINE, || Ok(brokers(&alone) == 3)).unwrap();
}
