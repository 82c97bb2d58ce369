//! Gifts of which nobody knows whether they were sent.

use std::time::{Duration, SystemTime};

use executor::business::{FindGift, Services};
use executor::{Handler, Outcome};
use fakes::switches::{Mode, Reach, Switch};
use fakes::{smtp, solapi};
use proto::gift::v1::{SendFound, send_found::Kind};

use crate::world::*;

impl World {
    async fn find(&self, attempt: u32) -> Outcome {
        let Services { client, messengers, settle, .. } = self.services.clone();
        let find = FindGift::new(client, messengers, settle);
        find.handle(delivery("gift.find", &send_work("g", 1), attempt)).await
    }

    /// A gift whose message may be on its way, begun so long ago.
    async fn begun(&self, recipient: proto::gift::v1::Party, ago: Duration) {
        self.cluster.add("g", recipient);
        let begin = proto::gift::v1::BeginSendRequest { gift_id: "g".into(), round: 1, ..Default::default() };
        self.services.client.begin_send(begin).await.expect("a turn");
        self.cluster.change("g", |gift| {
            let (channel, _) = gift.begun.expect("a turn");
            (gift.begun, gift.over) = (Some((channel, SystemTime::now() - ago)), Some("unknown"));
        });
    }
}

fn kind(outcome: &Outcome) -> Kind {
    result::<SendFound>(outcome).kind()
}

#[tokio::test]
async fn what_the_provider_lists_was_sent() {
    let world = World::open().await;
    world.cluster.add("g", person());
    world.send("g", 1, 1).await;
    let found: SendFound = result(&world.find(1).await);
    assert_eq!(found.kind(), Kind::Sent);
    assert_eq!(found.provider_id, world.inbox(PHONE)[0].provider_id);
    world.close().await;
}

/// Red when a list that lags behind is believed at once: the money would go back for a gift that arrives.
#[tokio::test]
async fn what_is_not_listed_in_time_was_not_sent() {
    let mut world = World::open().await;
    world.services.settle = Duration::from_secs(20);
    world.begun(person(), Duration::from_secs(1)).await;
    let (after, _) = retry(world.find(1).await);
    assert!(after.is_some_and(|after| after <= Duration::from_secs(19)), "{after:?}");
    world.begun(person(), Duration::from_secs(60)).await;
    assert_eq!(kind(&world.find(2).await), Kind::NotSent);
    world.close().await;
}

#[tokio::test]
async fn who_cannot_tell_is_asked_some_more_times_then_a_human_is() {
    let world = World::open().await;
    world.begun(person(), Duration::from_secs(60)).await;
    world.switch(Switch::new(solapi::NAME, Mode::Refuse)).await;
    retry(world.find(18).await);
    assert_eq!(kind(&world.find(19).await), Kind::Unspecified);
    world.fakes.switches().reset(solapi::NAME).await.expect("a switch");
    assert_eq!(kind(&world.find(20).await), Kind::NotSent);

    world.cluster.add("g", correspondent());
    world.switch(Switch::new(smtp::NAME, Mode::ResetAfterAccept).reach(Reach::Next(1))).await;
    world.cluster.apply(&world.send("g", 1, 1).await);
    // Nobody can be asked about an e-mail: a human is at once.
    assert_eq!(kind(&world.find(1).await), Kind::Unspecified);
    assert_eq!(world.inbox(EMAIL).len(), 1);
    world.close().await;
}

#[tokio::test]
async fn a_gift_of_which_nothing_was_begun_is_for_a_human() {
    let world = World::open().await;
    world.cluster.add("g", person());
    assert_eq!(kind(&world.find(1).await), Kind::Unspecified);
    world.close().await;
}
