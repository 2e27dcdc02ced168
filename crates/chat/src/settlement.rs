//! Asks providers about calls of which only an estimate is known, or less: those that were stopped or cut, and those whose caller
//! died. What a provider tells is what it bills.

use std::{sync::Arc, time::Duration};

use llm::Known;

use crate::{
    model::call_id,
    resources::Resources,
    store::{Unsettled, Wanted},
};

/// A call that ended this recently may not be on the provider's books yet, in seconds.
const YOUNGEST_S: i32 = 5;
/// By then it has told, or never will: a day, in seconds.
const OLDEST_S: i32 = 86_400;
/// As many are asked about at a time.
const MOST: i64 = 200;
/// Before a provider's word that it knows of no such call is believed, in seconds.
const UNKNOWN_FOR_S: i64 = 10;

/// Looks until the process drains, if there is anybody to ask.
pub fn start(resources: &Arc<Resources>) {
    if resources.gateway.tellers(Known::ByOwnId).next().is_none() {
        return;
    }
    let resources = resources.clone();
    let drain = resources.drain.clone();
    let every = Duration::from_secs(resources.config.settle_every_s.into());
    drain.clone().spawn("settlement", async move {
        loop {
            tokio::select! {
                () = drain.draining() => return,
                () = tokio::time::sleep(every) => {}
            }
            tokio::select! {
                () = drain.draining() => return,
                () = settle(&resources) => {}
            }
        }
    });
}

async fn settle(resources: &Resources) {
    let partitions: Vec<_> = resources.holdings.all().iter().map(|held| held.partition).collect();
    let wanted = Wanted {
        partitions,
        older_s: YOUNGEST_S,
        younger_s: OLDEST_S,
        by_own_id: owned(resources.gateway.tellers(Known::ByOwnId)),
        by_call_id: owned(resources.gateway.tellers(Known::ByCallId)),
        models: owned(resources.gateway.told_models()),
        most: MOST,
    };
    let calls = match resources.store.unsettled(&wanted).await {
        Ok(calls) => calls,
        Err(error) => return tracing::warn!(%error, "calls to be settled could not be read"),
    };
    for call in calls {
        if let Err(error) = settle_one(resources, &call).await {
            tracing::debug!(turn = %call.turn, attempt = call.attempt, error, "a call is not settled yet");
        }
    }
}

fn owned<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    names.map(str::to_owned).collect()
}

async fn settle_one(resources: &Resources, call: &Unsettled) -> Result<(), String> {
    let (provider, generation) = (call.provider.as_deref(), call.generation_id.as_deref());
    let call_id = call_id(call.turn, call.attempt);
    let asked = resources.gateway.account(&call.model, provider, generation, &call_id).await;
    let account = asked.map_err(|error| error.to_string())?;
    if account.is_none() && (generation.is_some() || call.age_s < UNKNOWN_FOR_S) {
        return Err("its provider does not know of it yet".to_owned());
    }
    let settled = resources.store.settle(call, account.as_ref()).await;
    metrics::counter!("omnichat_calls_settled_total").increment(u64::from(settled.is_ok()));
    settled.map_err(|error| error.to_string())
}
