//! PaymentService: payments, and where the money is.

mod convert;

use domain::ledger::{self, Report};
use domain::payment;
use proto::payment::v1;
use proto::payment::v1::payment_service_client::PaymentServiceClient;
use proto::payment::v1::payment_service_server::PaymentService;
use scheduler::time::Timestamp;
use tonic::{Request, Response, Status};

pub(crate) use convert::{settle, settle_refund, shown};

use crate::convert::{moment, moment_of};
use crate::error::Error;
use crate::product::not_found;
use crate::services::{Call, Services, route};
use crate::validate::Violations;

#[tonic::async_trait]
impl PaymentService for Services {
    async fn get_payment(
        &self,
        request: Request<v1::GetPaymentRequest>,
    ) -> Result<Response<v1::GetPaymentResponse>, Status> {
        self.answer("GetPayment", request, async |message, call| self.get_payment(message, call).await).await
    }

    async fn reconcile(
        &self,
        request: Request<v1::ReconcileRequest>,
    ) -> Result<Response<v1::ReconcileResponse>, Status> {
        self.answer("Reconcile", request, async |message, call| self.reconcile(message, call).await).await
    }
}

impl Services {
    pub(crate) async fn get_payment(
        &self,
        message: v1::GetPaymentRequest,
        call: Call,
    ) -> Result<v1::GetPaymentResponse, Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", message.namespace.clone());
        v.id("id", &message.id);
        v.finish(())?;
        let partition = self.node.partition_of(&namespace, &message.id);
        route!(self, call, partition, message, PaymentServiceClient::get_payment, {
            let found = partition.read(|rows| payment::get(rows, &namespace, &message.id)).await?;
            let found = found.ok_or_else(|| not_found(partition.number(), "payment"))?;
            Ok(v1::GetPaymentResponse { payment: Some(shown(found)) })
        })
    }

    /// From this node's replicas: what is applied is committed, and up to the watermark nothing can be added any more. So every node
    /// answers, and answers the same for the same time.
    pub(crate) async fn reconcile(
        &self,
        message: v1::ReconcileRequest,
        call: Call,
    ) -> Result<v1::ReconcileResponse, Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", message.namespace);
        let asked = message.as_of.map(|as_of| moment_of(&mut v, "as_of", &as_of));
        v.finish(())?;
        let _bounded_by_the_call = call;
        let mut reached = Timestamp::MAX;
        for partition in self.node.partitions() {
            reached = reached.min(partition.feed().progress().borrow().watermark);
        }
        if asked.is_some_and(|asked| asked > reached) {
            return Err(Error::invalid(
                "as_of",
                format!("expected a time that every partition has reached, at most {} ms", reached.as_millis()),
            ));
        }
        // A watermark's own millisecond may not be over yet.
        let as_of = asked.unwrap_or(Timestamp::from_millis(reached.as_millis().saturating_sub(1)));
        let mut total = Report::default();
        for partition in self.node.partitions() {
            total.merge(partition.read_local(|rows| ledger::report(rows, &namespace, as_of))?);
        }
        Ok(convert::reconciled(moment(as_of), total))
    }
}
