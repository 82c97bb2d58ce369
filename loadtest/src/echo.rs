//! The role of an empty server: the same transport and messages, none of our work behind them.

use std::net::SocketAddr;
use std::pin::Pin;

use futures::Stream;
use proto::v1;
use proto::v1::scheduler_service_server::{SchedulerService, SchedulerServiceServer};
use tonic::{Request, Response, Status, Streaming};

/// The argument that makes this binary an empty server.
pub const ROLE: &str = "echo-server";

/// Argument after the role: the address to listen on.
pub async fn run(arguments: &[String]) -> anyhow::Result<()> {
    let address: SocketAddr = arguments
        .first()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| anyhow::anyhow!("{ROLE}: expected an address"))?;
    tonic::transport::Server::builder().add_service(SchedulerServiceServer::new(Echo)).serve(address).await?;
    Ok(())
}

/// Answers Schedule and nothing else.
struct Echo;

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

macro_rules! echo_service {
    ($($call:ident: $request:ty => $response:ty;)+) => {
        #[tonic::async_trait]
        impl SchedulerService for Echo {
            type ScheduleStreamStream = Answers<v1::ScheduleStreamResponse>;
            type WatchStream = Answers<v1::WatchResponse>;

            async fn schedule(
                &self,
                request: Request<v1::ScheduleRequest>,
            ) -> Result<Response<v1::ScheduleResponse>, Status> {
                let request = request.into_inner();
                Ok(Response::new(v1::ScheduleResponse {
                    namespace: request.namespace,
                    id: request.id,
                    generation: 1,
                    receipt: Some(v1::Receipt::default()),
                    ..Default::default()
                }))
            }

            $(async fn $call(&self, _: Request<$request>) -> Result<Response<$response>, Status> {
                Err(Status::unimplemented("this server only echoes Schedule"))
            })+
        }
    };
}

echo_service! {
    batch_schedule: v1::BatchScheduleRequest => v1::BatchScheduleResponse;
    schedule_stream: Streaming<v1::ScheduleStreamRequest> => Self::ScheduleStreamStream;
    cancel: v1::CancelRequest => v1::CancelResponse;
    batch_cancel: v1::BatchCancelRequest => v1::BatchCancelResponse;
    reschedule: v1::RescheduleRequest => v1::RescheduleResponse;
    run_now: v1::RunNowRequest => v1::RunNowResponse;
    get: v1::GetRequest => v1::GetResponse;
    list: v1::ListRequest => v1::ListResponse;
    watch: v1::WatchRequest => Self::WatchStream;
    forecast: v1::ForecastRequest => v1::ForecastResponse;
}
