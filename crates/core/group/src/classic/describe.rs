//! DescribeGroups.

use super::live::{Live, State};
use crate::command::{DescribedGroup, DescribedMember};

impl Live {
    /// The group, as DescribeGroups shows it: dialect and metadata only while stable, since they
    /// are in flux otherwise; assignments as they were last given.
    pub(crate) fn describe(&self) -> DescribedGroup {
        let protocol = self.protocol.as_deref().filter(|_| self.state == State::Stable);
        let members = self.members.iter().map(|(member_id, member)| DescribedMember {
            member_id: member_id.as_ref().to_owned(),
            instance_id: member.facts.instance_id.as_deref().map(str::to_owned),
            client_id: member.facts.client_id.as_ref().to_owned(),
            client_host: member.facts.client_host.as_ref().to_owned(),
            metadata: member.facts.metadata(protocol),
            assignment: member.assignment.clone(),
        });
        DescribedGroup {
            state: self.state.name(),
            protocol_type: self.protocol_type().to_owned(),
            protocol_name: protocol.unwrap_or_default().to_owned(),
            members: members.collect(),
        }
    }
}
