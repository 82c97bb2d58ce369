//! DeadLetterService: what was given up, and what becomes of it.

use proto::v1;
use proto::v1::dead_letter_service_client::DeadLetterServiceClient;
use proto::v1::dead_letter_service_server::DeadLetterService;
use scheduler::command::Kind;
use scheduler::lane::{Generation, Position};
use scheduler::read;
use scheduler::reply::Reply;
use scheduler::time::Timestamp;
use tonic::{Request, Response, Status};

use super::list::{PAGE_BYTES_MAX, PageToken};
use super::scheduler::unexpected;
use super::{Call, Services, route};
use crate::convert;
use crate::error::Error;
use crate::validate::Violations;

#[tonic::async_trait]
impl DeadLetterService for Services {
    async fn list_dead_letters(
        &self,
        request: Request<v1::ListDeadLettersRequest>,
    ) -> Result<Response<v1::ListDeadLettersResponse>, Status> {
        self.answer("ListDeadLetters", request, async |message, call| self.list_dead(message, call).await).await
    }

    async fn requeue_dead_letter(
        &self,
        request: Request<v1::RequeueDeadLetterRequest>,
    ) -> Result<Response<v1::RequeueDeadLetterResponse>, Status> {
        self.answer("RequeueDeadLetter", request, async |message, call| self.requeue_one(message, call).await).await
    }

    async fn drop_dead_letter(
        &self,
        request: Request<v1::DropDeadLetterRequest>,
    ) -> Result<Response<v1::DropDeadLetterResponse>, Status> {
        self.answer("DropDeadLetter", request, async |message, call| self.drop_one(message, call).await).await
    }
}

impl Services {
    pub(crate) async fn requeue_one(
        &self,
        message: v1::RequeueDeadLetterRequest,
        call: Call,
    ) -> Result<v1::RequeueDeadLetterResponse, Error> {
        let command = convert::requeue(message.clone())?;
        let partition = self.node.partition_of(&command.namespace, &command.id);
        route!(self, call, partition, message, DeadLetterServiceClient::requeue_dead_letter, {
            match self.decide(partition, Kind::Requeue(command)).await? {
                Reply::Moved(receipt) => Ok(v1::RequeueDeadLetterResponse {
                    generation: receipt.generation.number(),
                    receipt: Some(convert::receipt(partition.number(), &receipt)),
                }),
                other => Err(unexpected("Requeue", other)),
            }
        })
    }

    pub(crate) async fn drop_one(
        &self,
        message: v1::DropDeadLetterRequest,
        call: Call,
    ) -> Result<v1::DropDeadLetterResponse, Error> {
        let command = convert::drop_letter(message.clone())?;
        let partition = self.node.partition_of(&command.namespace, &command.id);
        route!(self, call, partition, message, DeadLetterServiceClient::drop_dead_letter, {
            match self.decide(partition, Kind::Drop(command)).await? {
                Reply::Ended(receipt) => {
                    Ok(v1::DropDeadLetterResponse { receipt: Some(convert::receipt(partition.number(), &receipt)) })
                }
                other => Err(unexpected("Drop", other)),
            }
        })
    }

    pub(crate) async fn list_dead(
        &self,
        message: v1::ListDeadLettersRequest,
        call: Call,
    ) -> Result<v1::ListDeadLettersResponse, Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", message.namespace.clone());
        if !message.topic.is_empty() {
            v.topic("topic", &message.topic);
        }
        let limit = v.page_size("page_size", message.page_size);
        let partitions = self.node.partitions().len();
        let page = PageToken::parse(&mut v, "page_token", &message.page_token, partitions, position_of);
        v.finish(())?;
        let partition = self.node.partition(page.partition)?;
        route!(self, call, partition, message, DeadLetterServiceClient::list_dead_letters, {
            let topic = Some(message.topic.as_str()).filter(|topic| !topic.is_empty());
            let found = partition
                .read(|rows| read::dead_letters(rows, &namespace, topic, page.after, limit, PAGE_BYTES_MAX))
                .await?;
            let number = partition.number();
            let next = match found.next {
                Some(next) => Some(PageToken { partition: number, after: Some(next) }),
                None if (number as usize) + 1 < partitions => Some(PageToken { partition: number + 1, after: None }),
                None => None,
            };
            Ok(v1::ListDeadLettersResponse {
                triggers: found.items.into_iter().map(|view| convert::trigger(number, view)).collect(),
                next_page_token: next.map_or_else(String::new, |token| token.text(bytes_of)),
            })
        })
    }
}

pub(crate) fn bytes_of(position: Position) -> Vec<u8> {
    [position.due.as_millis().to_be_bytes(), position.generation.number().to_be_bytes()].concat()
}

pub(crate) fn position_of(bytes: &[u8]) -> Option<Position> {
    let (due, generation) = bytes.split_first_chunk::<8>()?;
    Some(Position {
        due: Timestamp::from_millis(u64::from_be_bytes(*due)),
        generation: Generation::from_number(u64::from_be_bytes(generation.try_into().ok()?)),
    })
}
