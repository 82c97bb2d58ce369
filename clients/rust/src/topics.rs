//! Calls about topics.

use proto::v1::topic_service_client::TopicServiceClient;
use proto::v1::{GetTopicRequest, ListTopicsRequest, PauseTopicRequest, ResumeTopicRequest, Topic, UpdateTopicRequest};

use crate::call::{Client, How, MESSAGE_BYTES_MAX};
use crate::connection::Connection;
use crate::error::Error;

fn service(channel: Connection) -> TopicServiceClient<Connection> {
    TopicServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

impl Client {
    /// Settings and counts of one topic.
    pub async fn get_topic(&self, mut request: GetTopicRequest) -> Result<Topic, Error> {
        self.fill_namespace(&mut request.namespace);
        let answer =
            self.call(How::repeatable(), request, |channel, request| async move {
                service(channel).get_topic(request).await
            })
            .await?;
        Ok(answer.topic.unwrap_or_default())
    }

    /// The topics of a namespace, with counts.
    pub async fn list_topics(&self, mut request: ListTopicsRequest) -> Result<Vec<Topic>, Error> {
        self.fill_namespace(&mut request.namespace);
        let answer =
            self.call(How::repeatable(), request, |channel, request| async move {
                service(channel).list_topics(request).await
            })
            .await?;
        Ok(answer.topics)
    }

    /// Creates or changes a topic; acknowledged when every partition has applied it. With an expected version it is not
    /// repeated after an unknown outcome, as the repeat would be refused.
    pub async fn update_topic(&self, mut request: UpdateTopicRequest) -> Result<Topic, Error> {
        self.fill_namespace(&mut request.namespace);
        let how = if request.expected_version == 0 { How::repeatable() } else { How::once() };
        let answer = self
            .call(how, request, |channel, request| async move { service(channel).update_topic(request).await })
            .await?;
        Ok(answer.topic.unwrap_or_default())
    }

    /// Stops firing; acknowledged when effective in every partition.
    pub async fn pause_topic(&self, mut request: PauseTopicRequest) -> Result<Topic, Error> {
        self.fill_namespace(&mut request.namespace);
        let answer =
            self.call(How::repeatable(), request, |channel, request| async move {
                service(channel).pause_topic(request).await
            })
            .await?;
        Ok(answer.topic.unwrap_or_default())
    }

    /// Fires again; what fell due meanwhile goes in due order.
    pub async fn resume_topic(&self, mut request: ResumeTopicRequest) -> Result<Topic, Error> {
        self.fill_namespace(&mut request.namespace);
        let answer =
            self.call(How::repeatable(), request, |channel, request| async move {
                service(channel).resume_topic(request).await
            })
            .await?;
        Ok(answer.topic.unwrap_or_default())
    }
}
