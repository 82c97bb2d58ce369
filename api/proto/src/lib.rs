//! The public protocol of Bosingak: messages, clients and servers generated from `proto/`.
//!
//! Units, ranges, errors and durability are stated beside each field and call in the `.proto` files, which are the
//! reference; generated items carry those texts.

#![allow(
    clippy::all,
    missing_docs,
    clippy::allow_attributes_without_reason,
    reason = "generated code: its documentation is that of the .proto files"
)]

/// Scheduling, executing, topics, dead letters.
pub mod v1 {
    tonic::include_proto!("bosingak.v1");
}

/// The cluster as operators see it.
pub mod admin {
    /// Status, membership, leadership, clock.
    pub mod v1 {
        tonic::include_proto!("bosingak.admin.v1");
    }
}

/// What can be given.
pub mod product {
    /// Products.
    pub mod v1 {
        tonic::include_proto!("bosingak.product.v1");
    }
}

/// What it costs.
pub mod payment {
    /// Payments and reconciliation.
    pub mod v1 {
        tonic::include_proto!("bosingak.payment.v1");
    }
}

/// Gifts.
pub mod gift {
    /// Reserved, sent, received, used.
    pub mod v1 {
        tonic::include_proto!("bosingak.gift.v1");
    }
}

/// What people are told.
pub mod notification {
    /// News about gifts.
    pub mod v1 {
        tonic::include_proto!("bosingak.notification.v1");
    }
}

/// Where gifts are used.
pub mod shop {
    /// Shops and their terminals.
    pub mod v1 {
        tonic::include_proto!("bosingak.shop.v1");
    }
}

/// The encoded `FileDescriptorSet` of all files, for reflection and for JSON.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// `google.rpc.Status`, as results of single items carry it.
pub use tonic_types::Status as RpcStatus;
