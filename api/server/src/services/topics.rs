//! TopicService: settings of topics, the same in every partition.
//!
//! Partition 0 decides about a change and gives it a version; then every partition applies it, and only then is it
//! acknowledged. [`reconcile`] brings a change to partitions that did not hear of it when it was made.

use std::collections::BTreeMap;
use std::time::Duration;

use proto::v1;
use proto::v1::topic_service_client::TopicServiceClient;
use proto::v1::topic_service_server::TopicService;
use scheduler::command::{Kind, SetTopic, TopicSettings};
use scheduler::read;
use scheduler::record::{self, Topic};
use scheduler::reply::{Refusal, Reply};
use tonic::{Request, Response, Status};

use super::{Call, Services, route};
use crate::convert;
use crate::error::Error;
use crate::node::Node;
use crate::partition::Partition;
use crate::validate::Violations;

/// How often a change is offered again to a partition that has not applied it.
const OFFER_EVERY: Duration = Duration::from_millis(100);
/// How often the leader of partition 0 looks for partitions that missed a change.
const RECONCILE_EVERY: Duration = Duration::from_secs(2);

#[tonic::async_trait]
impl TopicService for Services {
    async fn get_topic(&self, request: Request<v1::GetTopicRequest>) -> Result<Response<v1::GetTopicResponse>, Status> {
        self.answer("GetTopic", request, async |message, call| self.topic(message, call).await).await
    }

    async fn list_topics(
        &self,
        request: Request<v1::ListTopicsRequest>,
    ) -> Result<Response<v1::ListTopicsResponse>, Status> {
        self.answer("ListTopics", request, async |message, call| self.topics(message, call).await).await
    }

    async fn update_topic(
        &self,
        request: Request<v1::UpdateTopicRequest>,
    ) -> Result<Response<v1::UpdateTopicResponse>, Status> {
        self.answer("UpdateTopic", request, async |message, call| self.update_one_topic(message, call).await).await
    }

    async fn pause_topic(
        &self,
        request: Request<v1::PauseTopicRequest>,
    ) -> Result<Response<v1::PauseTopicResponse>, Status> {
        self.answer("PauseTopic", request, async |message, call| self.pause_one_topic(message, call).await).await
    }

    async fn resume_topic(
        &self,
        request: Request<v1::ResumeTopicRequest>,
    ) -> Result<Response<v1::ResumeTopicResponse>, Status> {
        self.answer("ResumeTopic", request, async |message, call| self.resume_one_topic(message, call).await).await
    }
}

impl Services {
    pub(crate) async fn topic(&self, message: v1::GetTopicRequest, call: Call) -> Result<v1::GetTopicResponse, Error> {
        let (namespace, name) = names(message.namespace.clone(), &message.name)?;
        route!(self, call, self.node.partition(0)?, message, TopicServiceClient::get_topic, {
            let stored = self.stored(&namespace, &name).await?;
            Ok(v1::GetTopicResponse { topic: Some(self.shown(&namespace, &name, stored)?) })
        })
    }

    pub(crate) async fn topics(
        &self,
        message: v1::ListTopicsRequest,
        call: Call,
    ) -> Result<v1::ListTopicsResponse, Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", message.namespace.clone());
        v.finish(())?;
        let meta = self.node.partition(0)?;
        route!(self, call, meta, message, TopicServiceClient::list_topics, {
            let mut found: BTreeMap<String, Option<Topic>> = BTreeMap::new();
            for topic in meta.read(|rows| read::topics(rows)).await? {
                if topic.namespace == namespace {
                    found.insert(topic.name.clone(), Some(topic));
                }
            }
            for partition in self.node.partitions() {
                for topic in partition.feed().topics().iter().filter(|topic| topic.namespace == namespace) {
                    found.entry(topic.name.clone()).or_insert(None);
                }
            }
            let topics = found.into_iter().map(|(name, stored)| self.shown(&namespace, &name, stored));
            Ok(v1::ListTopicsResponse { topics: topics.collect::<Result<_, _>>()? })
        })
    }

    pub(crate) async fn update_one_topic(
        &self,
        message: v1::UpdateTopicRequest,
        call: Call,
    ) -> Result<v1::UpdateTopicResponse, Error> {
        let (namespace, name) = names(message.namespace.clone(), &message.name)?;
        route!(self, call, self.node.partition(0)?, message, TopicServiceClient::update_topic, {
            let limits = message.limits.unwrap_or_default();
            let change = |before: &TopicSettings| convert::topic_settings(before, &limits);
            let topic = self.change(&namespace, &name, message.expected_version, change, call).await?;
            Ok(v1::UpdateTopicResponse { topic: Some(topic) })
        })
    }

    pub(crate) async fn pause_one_topic(
        &self,
        message: v1::PauseTopicRequest,
        call: Call,
    ) -> Result<v1::PauseTopicResponse, Error> {
        let (namespace, name) = names(message.namespace.clone(), &message.name)?;
        route!(self, call, self.node.partition(0)?, message, TopicServiceClient::pause_topic, {
            let pause = |before: &TopicSettings| Ok(TopicSettings { paused: true, ..before.clone() });
            let topic = self.change(&namespace, &name, 0, pause, call).await?;
            Ok(v1::PauseTopicResponse { topic: Some(topic) })
        })
    }

    pub(crate) async fn resume_one_topic(
        &self,
        message: v1::ResumeTopicRequest,
        call: Call,
    ) -> Result<v1::ResumeTopicResponse, Error> {
        let (namespace, name) = names(message.namespace.clone(), &message.name)?;
        route!(self, call, self.node.partition(0)?, message, TopicServiceClient::resume_topic, {
            let resume = |before: &TopicSettings| Ok(TopicSettings { paused: false, ..before.clone() });
            let topic = self.change(&namespace, &name, 0, resume, call).await?;
            Ok(v1::ResumeTopicResponse { topic: Some(topic) })
        })
    }

    /// What partition 0 has stored of a topic. Linearizable.
    async fn stored(&self, namespace: &str, name: &str) -> Result<Option<Topic>, Error> {
        self.node.partition(0)?.read(|rows| read::find_topic(rows, namespace, name)).await
    }

    /// Changes a topic in partition 0, then everywhere; answers when every partition has applied it.
    async fn change(
        &self,
        namespace: &str,
        name: &str,
        expected_version: u64,
        change: impl Fn(&TopicSettings) -> Result<TopicSettings, Error>,
        call: Call,
    ) -> Result<v1::Topic, Error> {
        let meta = self.node.partition(0)?;
        let (version, settings) = loop {
            let stored = self.stored(namespace, name).await?;
            let found = stored.as_ref().map_or(0, |topic| topic.version);
            if expected_version != 0 && expected_version != found {
                let refusal = Refusal::VersionMismatch { expected: expected_version, found };
                return Err(Error::Refused { partition: 0, refusal });
            }
            let settings = change(&stored.map_or_else(record::default_settings, |topic| topic.settings))?;
            let command = set_topic(namespace, name, found + 1, &settings, meta, &self.node);
            match self.decide(meta, Kind::SetTopic(command.clone())).await {
                // An equal version is answered as done: whether it is ours shows in what is stored.
                Ok(Reply::Done) => match self.stored(namespace, name).await? {
                    Some(topic) if topic.version == found + 1 && Some(&topic.settings) != command.settings.as_ref() => {
                    }
                    _ => break (found + 1, settings),
                },
                Ok(other) => return Err(super::scheduler::unexpected("SetTopic", other)),
                // Somebody else's change came in between: what was asked for is applied on top of it.
                Err(Error::Refused { refusal: Refusal::StaleTopicVersion { .. }, .. }) if expected_version == 0 => {}
                Err(error) => return Err(error),
            }
            if call.left().is_zero() {
                return Err(Error::OutcomeUnknown { reason: "other changes kept coming in between".into() });
            }
        };
        let everywhere = self.node.partitions().iter().skip(1).map(|partition| {
            bring(&self.node, partition, set_topic(namespace, name, version, &settings, partition, &self.node))
        });
        futures::future::join_all(everywhere).await;
        let stored = self.stored(namespace, name).await?;
        self.shown(namespace, name, stored)
    }

    /// A topic with its counts over all partitions, from this node's replicas.
    fn shown(&self, namespace: &str, name: &str, stored: Option<Topic>) -> Result<v1::Topic, Error> {
        let mut counts = v1::TopicCounts::default();
        let mut exists = stored.is_some();
        for partition in self.node.partitions() {
            let found = partition.read_local(|rows| {
                let Some(topic) = read::find_topic(rows, namespace, name)? else { return Ok(None) };
                read::topic_counts(rows, topic.id).map(Some)
            })?;
            let Some(found) = found else { continue };
            exists = true;
            counts.scheduled += found.scheduled;
            counts.fired += found.fired;
            counts.retrying += found.retrying;
            counts.dead_lettered += found.dead_lettered;
            counts.completed_total += found.completed_total;
        }
        if !exists {
            return Err(Error::NoSuchTopic { namespace: namespace.into(), topic: name.into() });
        }
        let (settings, version) =
            stored.map_or_else(|| (record::default_settings(), 0), |topic| (topic.settings, topic.version));
        let mut topic = convert::topic(namespace.into(), name.into(), &settings, version);
        topic.counts = Some(counts);
        Ok(topic)
    }
}

/// Offers a change to a partition until this node's replica of it shows that it was applied.
async fn bring(node: &Node, partition: &Partition, command: SetTopic) {
    let mut progress = partition.feed().progress();
    loop {
        progress.mark_unchanged();
        if applied_version(partition, &command.namespace, &command.topic) >= command.version {
            return;
        }
        offer(node, partition, &command).await;
        let applied = async {
            while applied_version(partition, &command.namespace, &command.topic) < command.version {
                if progress.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(OFFER_EVERY, applied).await;
    }
}

/// Has the leader of a partition propose a change; whether it did shows in what is applied.
async fn offer(node: &Node, partition: &Partition, command: &SetTopic) {
    if partition.proposer().is_leading() {
        if let Ok(awaited) = partition.proposer().propose_internal(Kind::SetTopic(command.clone())) {
            let _ = awaited.answer().await;
        }
        return;
    }
    let leader = partition.group().leadership().borrow().leader.clone();
    if let Some(leader) = leader {
        let request = crate::peers::set_topic(partition.number(), command);
        if let Err(error) = node.raft().call(leader.node, request, OFFER_EVERY * 5).await {
            tracing::debug!(partition = partition.number(), %error, "the leader did not take a topic's settings");
        }
    }
}

fn applied_version(partition: &Partition, namespace: &str, name: &str) -> u64 {
    let topics = partition.feed().topics();
    topics.iter().find(|topic| topic.namespace == namespace && topic.name == name).map_or(0, |topic| topic.version)
}

fn set_topic(
    namespace: &str,
    name: &str,
    version: u64,
    settings: &TopicSettings,
    partition: &Partition,
    node: &Node,
) -> SetTopic {
    SetTopic {
        namespace: namespace.into(),
        topic: name.into(),
        version,
        settings: Some(convert::share_of(settings, partition.number(), node.config().partitions)),
    }
}

/// While this node leads partition 0: brings settings to partitions that have older ones.
pub async fn reconcile(node: Node) {
    let mut turn = tokio::time::interval(RECONCILE_EVERY);
    turn.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        turn.tick().await;
        let Some(meta) = node.partitions().first().filter(|meta| meta.proposer().is_leading()) else { continue };
        for topic in meta.feed().topics().iter().filter(|topic| topic.version > 0) {
            for partition in node.partitions().iter().skip(1) {
                if applied_version(partition, &topic.namespace, &topic.name) < topic.version {
                    let settings = &topic.settings;
                    let command = set_topic(&topic.namespace, &topic.name, topic.version, settings, partition, &node);
                    offer(&node, partition, &command).await;
                }
            }
        }
    }
}

fn names(namespace: String, name: &str) -> Result<(String, String), Error> {
    let mut v = Violations::new();
    let namespace = v.namespace("namespace", namespace);
    v.not_reserved_namespace("namespace", &namespace);
    v.topic("name", name);
    v.not_reserved("name", name);
    v.finish((namespace, name.to_string()))
}
