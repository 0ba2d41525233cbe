//! What administrators change: settings, the number of partitions, where a log begins.

use super::{Client, millis};
use crate::error::{ClientError, Result};
use jocko_protocol::ApiKey;
use jocko_protocol::rpc::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use jocko_protocol::rpc::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use jocko_protocol::rpc::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use jocko_protocol::rpc::describe_configs_response::DescribeConfigsResourceResult;
use jocko_protocol::rpc::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use jocko_types::{ErrorCode, Offset};
use std::collections::BTreeMap;

/// Whose settings are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A topic's.
    Topic(String),
    /// A broker's.
    Broker(i32),
    /// Those of all brokers that have none of their own.
    AllBrokers,
    /// A group's.
    Group(String),
}

impl Resource {
    /// Its number and name in requests.
    fn on_wire(&self) -> (i8, String) {
        match self {
            Self::Topic(name) => (2, name.clone()),
            Self::Broker(id) => (4, id.to_string()),
            Self::AllBrokers => (4, String::new()),
            Self::Group(name) => (32, name.clone()),
        }
    }
}

impl Client {
    /// Settings by Kafka's names, with where they come from and, from Kafka 2.6 on, what they
    /// mean. `keys` asks for some of them; a name that is not known is left out of the answer.
    ///
    /// # Errors
    /// The broker's refusal.
    pub async fn describe_configs(
        &mut self,
        resource: &Resource,
        keys: Option<&[String]>,
    ) -> Result<Vec<DescribeConfigsResourceResult>> {
        let (resource_type, resource_name) = resource.on_wire();
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type,
                resource_name,
                configuration_keys: keys.map(<[String]>::to_vec),
                ..Default::default()
            }],
            include_synonyms: true,
            include_documentation: self.documents_configs().await?,
            ..Default::default()
        };
        let answer = match self.home_of(resource).await? {
            Some(address) => self.ask_at(&address, &request, i16::MAX).await?,
            None => self.ask(&request).await?,
        };
        let response = answer.get()?;
        let Some(result) = response.results.into_iter().next() else { return Ok(Vec::new()) };
        match (jocko_protocol::error_code(result.error_code), resource) {
            (ErrorCode::UnknownTopicOrPartition, Resource::Topic(name)) => {
                Err(ClientError::NoSuchTopic(name.clone()))
            }
            _ => {
                ClientError::check(result.error_code, result.error_message.as_deref())?;
                Ok(result.configs)
            }
        }
    }

    async fn documents_configs(&mut self) -> Result<bool> {
        let served = self.any().await?.advertised(ApiKey::DescribeConfigs);
        Ok(served.is_some_and(|versions| versions.max >= 3))
    }

    /// What concerns one broker is asked of it.
    async fn home_of(&mut self, resource: &Resource) -> Result<Option<String>> {
        let Resource::Broker(id) = resource else { return Ok(None) };
        self.metadata(Some(&[]), false).await?;
        let address = self.brokers.get(id).cloned();
        address.map(Some).ok_or(ClientError::NoSuchBroker(*id))
    }

    /// Sets and unsets settings by Kafka's names; all of them or, if one is refused, none.
    ///
    /// # Errors
    /// The broker's refusal, in its words.
    pub async fn alter_configs(
        &mut self,
        resource: &Resource,
        set: &[(String, String)],
        unset: &[String],
        validate_only: bool,
    ) -> Result<()> {
        let (resource_type, resource_name) = resource.on_wire();
        let setting = |name: &String, value: Option<String>| AlterableConfig {
            name: name.clone(),
            config_operation: i8::from(value.is_none()),
            value,
            ..Default::default()
        };
        let configs = set
            .iter()
            .map(|(name, value)| setting(name, Some(value.clone())))
            .chain(unset.iter().map(|name| setting(name, None)));
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type,
                resource_name,
                configs: configs.collect(),
                ..Default::default()
            }],
            validate_only,
            ..Default::default()
        };
        let home = match self.home_of(resource).await {
            // Others know of a broker that is not there, if it is one.
            Err(ClientError::NoSuchBroker(_)) => None,
            home => home?,
        };
        let answer = match home {
            Some(address) => self.ask_at(&address, &request, i16::MAX).await?,
            None => self.ask(&request).await?,
        };
        let response = answer.get()?;
        let mut all = response.responses.iter();
        all.try_for_each(|each| match (jocko_protocol::error_code(each.error_code), resource) {
            (ErrorCode::BrokerIdNotRegistered, Resource::Broker(id)) => {
                Err(ClientError::NoSuchBroker(*id))
            }
            _ => ClientError::check(each.error_code, each.error_message.as_deref()),
        })
    }

    /// Raises the number of a topic's partitions to `count`.
    ///
    /// # Errors
    /// The controller's refusal, in its words.
    pub async fn create_partitions(
        &mut self,
        topic: &str,
        count: i32,
        validate_only: bool,
    ) -> Result<()> {
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: topic.to_owned(),
                count,
                assignments: None,
                ..Default::default()
            }],
            timeout_ms: millis(self.timeout),
            validate_only,
            ..Default::default()
        };
        let answer = self.ask(&request).await?;
        let response = answer.get()?;
        self.leaders.retain(|(known, _), _| known != topic);
        let mut all = response.results.iter();
        all.try_for_each(|each| ClientError::check(each.error_code, each.error_message.as_deref()))
    }

    /// Deletes the records before an offset in each of these partitions. Yields where each log
    /// begins now.
    ///
    /// # Errors
    /// The first refusal of a leader; other partitions may have been trimmed.
    pub async fn delete_records(
        &mut self,
        topic: &str,
        before: &[(i32, Offset)],
    ) -> Result<Vec<(i32, Offset)>> {
        self.learn_leaders(topic, before.iter().map(|(partition, _)| *partition)).await?;
        let mut by_leader: BTreeMap<i32, Vec<DeleteRecordsPartition>> = BTreeMap::new();
        for (partition, offset) in before {
            let (leader, _) = self.known_leader(topic, *partition)?;
            by_leader.entry(leader).or_default().push(DeleteRecordsPartition {
                partition_index: *partition,
                offset: offset.get(),
                ..Default::default()
            });
        }
        let mut begin = Vec::with_capacity(before.len());
        for (leader, partitions) in by_leader {
            let address = self.address_of(leader)?;
            let request = DeleteRecordsRequest {
                topics: vec![DeleteRecordsTopic {
                    name: topic.to_owned(),
                    partitions,
                    ..Default::default()
                }],
                timeout_ms: millis(self.timeout),
                ..Default::default()
            };
            let answer = self.ask_at(&address, &request, i16::MAX).await?;
            let response = answer.get()?;
            for done in response.topics.iter().flat_map(|topic| &topic.partitions) {
                let outcome = ClientError::check(done.error_code, None);
                if let Err(error) = outcome {
                    self.forget_leader(topic, done.partition_index, &error);
                    return Err(error);
                }
                begin.push((done.partition_index, Offset::new(done.low_watermark)));
            }
        }
        begin.sort_unstable();
        Ok(begin)
    }
}
