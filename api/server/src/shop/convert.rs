//! Shops in the public protocol.

use domain::shop::{Shop, Terminal};
use proto::shop::v1;
use scheduler::time::Timestamp;

use crate::convert::moment;

pub(super) fn shop(shop: Shop) -> v1::Shop {
    v1::Shop { id: shop.id, name: shop.name, version: shop.version }
}

/// As it is at this moment.
pub(super) fn terminal(terminal: Terminal, now: Timestamp) -> v1::Terminal {
    let at = |millis: u64| moment(Timestamp::from_millis(millis));
    v1::Terminal {
        added: Some(at(terminal.added)),
        revoked: (terminal.revoked != 0).then(|| at(terminal.revoked)),
        // At most ten.
        failures: u32::try_from(terminal.failures(now)).unwrap_or(u32::MAX),
        locked_until: terminal.locked_until(now).map(moment),
        id: terminal.id,
    }
}
