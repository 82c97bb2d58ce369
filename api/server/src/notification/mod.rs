//! NotificationService: what was told about gifts, what became of it, and another try for what was given up.

mod convert;

use domain::notification::{self, Notification};
use domain::triggers::{self, Named, Purpose};
use domain::{Refusal, gift};
use proto::notification::v1;
use proto::notification::v1::notification_service_client::NotificationServiceClient;
use proto::notification::v1::notification_service_server::NotificationService;
use scheduler::command::{Kind, Requeue};
use scheduler::read::{self, TriggerView};
use scheduler::reply::{Refusal as Refused, Reply};
use scheduler::store::{Read, StoreError};
use tonic::{Request, Response, Status};

use crate::error::Error;
use crate::partition::Partition;
use crate::product::not_found;
use crate::services::scheduler::unexpected;
use crate::services::{Call, Services, route};
use crate::validate::Violations;

#[tonic::async_trait]
impl NotificationService for Services {
    async fn list_notifications(
        &self,
        request: Request<v1::ListNotificationsRequest>,
    ) -> Result<Response<v1::ListNotificationsResponse>, Status> {
        self.answer("ListNotifications", request, async |message, call| self.list_notifications(message, call).await)
            .await
    }

    async fn get_notification(
        &self,
        request: Request<v1::GetNotificationRequest>,
    ) -> Result<Response<v1::GetNotificationResponse>, Status> {
        self.answer("GetNotification", request, async |message, call| self.get_notification(message, call).await).await
    }

    async fn retry_notification(
        &self,
        request: Request<v1::RetryNotificationRequest>,
    ) -> Result<Response<v1::RetryNotificationResponse>, Status> {
        self.answer("RetryNotification", request, async |message, call| self.retry_notification(message, call).await)
            .await
    }
}

/// News, and its trigger while that is kept.
struct Known {
    notification: Notification,
    trigger: Option<TriggerView>,
}

impl Services {
    pub(crate) async fn list_notifications(
        &self,
        message: v1::ListNotificationsRequest,
        call: Call,
    ) -> Result<v1::ListNotificationsResponse, Error> {
        let (namespace, partition) = self.place(&message.namespace, &message.gift_id)?;
        route!(self, call, partition, message, NotificationServiceClient::list_notifications, {
            let (id, sender) = (&message.gift_id, &message.sender_id);
            let found = partition
                .read(|rows| {
                    let gift = gift::get(rows, &namespace, id)?;
                    if gift.is_none_or(|gift| !sender.is_empty() && gift.sender().id != *sender) {
                        return Ok(None);
                    }
                    let news = notification::list(rows, &namespace, id)?.into_iter();
                    let known = |notification| with_trigger(rows, &namespace, id, notification);
                    news.map(known).collect::<Result<Vec<Known>, StoreError>>().map(Some)
                })
                .await?;
            let found = found.ok_or_else(|| not_found(partition.number(), "gift"))?;
            let notifications = found.into_iter().map(|known| convert::shown(id, known)).collect();
            Ok(v1::ListNotificationsResponse { notifications })
        })
    }

    pub(crate) async fn get_notification(
        &self,
        message: v1::GetNotificationRequest,
        call: Call,
    ) -> Result<v1::GetNotificationResponse, Error> {
        let (namespace, named, partition) = self.place_of_notification(&message.namespace, &message.id)?;
        route!(self, call, partition, message, NotificationServiceClient::get_notification, {
            let notification = Some(known(partition, &namespace, &named).await?);
            Ok(v1::GetNotificationResponse { notification })
        })
    }

    pub(crate) async fn retry_notification(
        &self,
        message: v1::RetryNotificationRequest,
        call: Call,
    ) -> Result<v1::RetryNotificationResponse, Error> {
        let (namespace, named, partition) = self.place_of_notification(&message.namespace, &message.id)?;
        let mut v = Violations::new();
        let request = v.request_id("request_id", &message.request_id);
        v.finish(())?;
        route!(self, call, partition, message, NotificationServiceClient::retry_notification, {
            let id = message.id;
            let requeue = Requeue { namespace: namespace.clone(), id, request, ..Requeue::default() };
            match self.decide(partition, Kind::Requeue(requeue)).await {
                Ok(Reply::Moved(_)) => {}
                Ok(other) => return Err(unexpected("Requeue", other)),
                Err(Error::Refused { partition, refusal: Refused::NotFound }) => {
                    return Err(not_found(partition, "notification"));
                }
                Err(error) => return Err(error),
            }
            let notification = Some(known(partition, &namespace, &named).await?);
            Ok(v1::RetryNotificationResponse { notification })
        })
    }

    /// The namespace of a notification, what its id says, and the partition of its gift.
    fn place_of_notification(&self, namespace: &str, id: &str) -> Result<(String, Named, &Partition), Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", namespace.to_owned());
        let named = triggers::parse(id).filter(|named| named.purpose == Purpose::Notify);
        v.require(named.is_some(), "id", || {
            "expected the id of a notification, as ListNotifications answers it".into()
        });
        v.finish(())?;
        let named = named.ok_or_else(|| Error::Internal("a wrong id was not refused".into()))?;
        let partition = self.node.partition_of(&namespace, &named.gift);
        Ok((namespace, named, partition))
    }
}

/// One piece of news as its partition has it now.
async fn known(partition: &Partition, namespace: &str, named: &Named) -> Result<v1::Notification, Error> {
    let found = partition
        .read(|rows| {
            let news = notification::list(rows, namespace, &named.gift)?.into_iter();
            let one = news.into_iter().find(|one| one.number == named.number);
            one.map(|one| with_trigger(rows, namespace, &named.gift, one)).transpose()
        })
        .await?;
    let missing = || Error::Domain { partition: partition.number(), refusal: Refusal::not_found("notification") };
    Ok(convert::shown(&named.gift, found.ok_or_else(missing)?))
}

fn with_trigger(rows: &dyn Read, namespace: &str, gift: &str, notification: Notification) -> Result<Known, StoreError> {
    let id = triggers::id(gift, Purpose::Notify, notification.number);
    let trigger = read::get(rows, namespace, &id)?;
    Ok(Known { notification, trigger })
}
