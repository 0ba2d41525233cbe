//! What AlterConfigs and IncrementalAlterConfigs have in common: changes are checked here for whom
//! they are meant, and decided by the controller.

use crate::context::Context;
use crate::controller::Undecided;
use jocko_metadata::{AlteredConfigs, BrokerState, Command, ConfigChange, Refusal, Reply};
use jocko_types::{BrokerId, ErrorCode};

/// Kafka's number for a resource that is a broker.
const BROKER: i8 = 4;

/// What became of the changes to one resource.
pub(super) struct Altered {
    pub(super) resource_type: i8,
    pub(super) resource_name: String,
    pub(super) error: Option<Refusal>,
}

impl Altered {
    /// The code and the words for the client.
    pub(super) fn error(&mut self) -> (i16, Option<String>) {
        match self.error.take() {
            None => (ErrorCode::None.code(), None),
            Some(Refusal { code, message }) => (code.code(), Some(message)),
        }
    }
}

/// Has changes decided; the answers are in their order.
pub(super) async fn alter(
    context: &Context,
    changes: Vec<ConfigChange>,
    validate_only: bool,
) -> Vec<Altered> {
    let refusals: Vec<Option<Refusal>> =
        changes.iter().map(|change| misdirected(context, change)).collect();
    let resources: Vec<(i8, String)> =
        changes.iter().map(|change| (change.resource_type, change.resource_name.clone())).collect();
    // A resource that is named twice is refused whoever it is meant for, so all go along; what is
    // misdirected changes nothing.
    let resources_to_decide = changes
        .into_iter()
        .zip(&refusals)
        .map(|(change, refusal)| match refusal {
            None => change,
            Some(_) => ConfigChange { ops: Vec::new(), replace: false, ..change },
        })
        .collect();
    let command = Command::AlterConfigs { resources: resources_to_decide, validate_only };
    let decided = context.controller.submit(command).await;
    let errors: Vec<Option<Refusal>> = match decided {
        Ok(Reply::AlterConfigs(answers)) => {
            answers.into_iter().map(|AlteredConfigs { answer, .. }| answer.err()).collect()
        }
        Ok(_) => unreachable!("each command has its own kind of reply"),
        Err(Undecided(code)) => {
            let error = Refusal { code, message: String::new() };
            vec![Some(error); resources.len()]
        }
    };
    resources
        .into_iter()
        .zip(refusals)
        .zip(errors)
        .map(|(((resource_type, resource_name), refusal), error)| Altered {
            resource_type,
            resource_name,
            error: refusal.or(error),
        })
        .collect()
}

/// A broker takes changes for itself and for all brokers, as Kafka's do: clients send them to the
/// broker they are meant for. For one that is not there anybody takes them: it may never come back,
/// and can still be cordoned.
fn misdirected(context: &Context, change: &ConfigChange) -> Option<Refusal> {
    if change.resource_type != BROKER || change.resource_name.is_empty() {
        return None;
    }
    let (own, name) = (context.broker, &change.resource_name);
    let message = match name.parse::<i32>() {
        Ok(id) if id == own.get() || is_away(context, id) => return None,
        Ok(id) => format!("Unexpected broker id, expected {own}, but received {id}"),
        Err(_) => format!("Node id must be an integer, but it is: {name}"),
    };
    Some(Refusal { code: ErrorCode::InvalidRequest, message })
}

fn is_away(context: &Context, id: i32) -> bool {
    let published = context.published.load();
    let broker = published.image.broker(BrokerId::new(id));
    broker.is_some_and(|broker| broker.state() == BrokerState::Fenced)
}
