//! Conversations and their turns.
//!
//! - [`config`]: section `[chat]`
//! - [`front`]: takes a send and puts it into the stream of turns
//! - [`worker`] ► [`partition`] ► [`conversation`] ► [`generation`]: the actors, each supervising the next
//! - [`settings`]: how a model is called, from the words of the contract into those of a call
//! - [`audience`]: who is told a turn step by step
//! - [`assignment`]: which worker should own which partition; [`intake`]: how it comes to own one; [`holdings`]: what it owns
//! - [`residents`]: how many conversations are in memory, and which is the first to leave
//! - [`writer`]: the one writer of turns, in batches, fenced by the partition's epoch
//! - [`in_hand`]: the conversations in memory, and the calls that are made for them
//! - [`stops`]: stops a turn that is cancelled, or whose conversation is deleted, wherever it runs
//! - [`rescue`]: finds what nobody has in hand
//! - [`dead_letters`]: turns that were given up, for operators
//! - `settlement`: asks providers what calls have cost whose end nobody has seen
//! - [`purge`]: removes for good what was deleted
//! - [`service`]: all other requests; [`store`]: SQL and rows; [`model`]: turns and outcomes; [`question`]: what is asked
//! - [`error`]: the errors, and their one translation to faults

pub mod assignment;
pub mod audience;
pub mod config;
pub mod conversation;
pub mod dead_letters;
pub mod error;
pub mod front;
pub mod generation;
pub mod holdings;
pub mod in_hand;
mod intake;
pub mod model;
pub mod partition;
pub mod purge;
pub mod question;
pub mod rescue;
pub mod residents;
pub mod resources;
pub mod service;
mod settings;
mod settlement;
pub mod stops;
pub mod store;
pub mod worker;
pub mod writer;

use std::sync::Arc;

use bus::{Bus, Cluster, Endpoints, PartitionError, Partitions};
pub use config::{Config, Limits, Sections};
use host::{Drain, Health, postgres::Pool, share::Shares, telemetry::Metric};
use llm::Gateway;
use ractor::Actor;
use wire::operations;

use holdings::Holdings;
use in_hand::InHand;
use resources::Resources;
use service::Service;
use store::Store;
use writer::Writer;

/// What this crate counts.
pub const METRICS: &[Metric] = &[
    Metric::counter("omnichat_turns_accepted_total", "Turns that were made durable."),
    Metric::counter("omnichat_turns_finished_total", "Turns whose outcome was stored, by fault code or ok."),
    Metric::histogram("omnichat_turn_seconds", "Time from acceptance (or rescue) to the stored outcome."),
    Metric::histogram("omnichat_provider_call_seconds", "Time of completed calls to providers."),
    Metric::counter(
        "omnichat_provider_calls_total",
        "Calls to providers that have ended, by provider and how.",
    ),
    Metric::gauge(
        "omnichat_provider_keys_resting",
        "Keys that are not used for a while, as their calls fail.",
    ),
    Metric::counter(
        "omnichat_calls_unrecorded_total",
        "Calls of which an account was lost for want of Postgres.",
    ),
    Metric::counter(
        "omnichat_calls_settled_total",
        "Calls whose provider was asked later what they had cost.",
    ),
    Metric::counter("omnichat_redeliveries_total", "Deliveries of turns that were in hand already."),
    Metric::counter(
        "omnichat_replies_resent_total",
        "Stored outcomes that were sent again to a repeated send.",
    ),
    Metric::counter(
        "omnichat_partitions_taken_total",
        "Partitions this process took over: free, handed_over by a live owner, or forced.",
    ),
    Metric::gauge("omnichat_conversations_alive", "Conversations in memory."),
    Metric::gauge("omnichat_workers_alive", "Workers that this one takes for alive, itself included."),
    Metric::counter("omnichat_rescued_turns_total", "Open turns of an earlier owner that were gone on with."),
    Metric::counter(
        "omnichat_purged_conversations_total",
        "Deleted conversations that were removed for good.",
    ),
    Metric::counter("omnichat_dead_letters_total", "Turns that were given up after their last attempt."),
    Metric::counter("omnichat_actor_failures_total", "Actors that failed and were replaced, by kind."),
];

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The stream of turns cannot be used.
    #[error(transparent)]
    Stream(#[from] PartitionError),
    /// The connection was closed.
    #[error("cannot subscribe: {0}")]
    Subscribe(String),
    /// The actors could not be started.
    #[error("cannot start the actors: {0}")]
    Actors(#[from] ractor::SpawnErr),
}

/// Starts the service: what the others stand on first, what strangers reach last.
pub async fn start(
    sections: Sections,
    bus: &Bus,
    pool: &Pool,
    gateway: Gateway,
    health: &Health,
    drain: &Drain,
) -> Result<(), StartError> {
    let partitions = Partitions::open(bus).await?;
    let check = partitions.clone();
    health.add("stream", move || {
        let check = check.clone();
        async move { check.check().await }
    });
    let partition_count = partitions.count();
    let conversations_max = sections.chat.conversations_max;
    let resources = Arc::new(Resources {
        bus: bus.clone(),
        store: Store::new(pool.half(store::SESSION)),
        requests: Store::new(pool.half(store::SESSION)),
        writer: Writer::start(pool, gateway.default_model().to_owned(), drain),
        gateway,
        config: sections.chat,
        drain: drain.clone(),
        worker: format!("chat-{}", uuid::Uuid::now_v7()),
        running: Shares::new(
            sections.limits.running_turns_per_user as usize,
            sections.limits.running_turns_per_node as usize,
        ),
        in_hand: InHand::default(),
        holdings: Holdings::default(),
        residents: residents::Residents::new(conversations_max),
    });
    // Not the resources: the writer ends when nobody holds them any more.
    let holdings = resources.holdings.clone();
    holdings.want(1);
    health.add("partitions", move || std::future::ready(holdings.check(partition_count)));
    stops::start(&resources).await.map_err(subscribe_error)?;
    let in_hand = resources.in_hand.clone();
    bus.give_snapshots(move |turn| in_hand.so_far(turn)).await.map_err(subscribe_error)?;
    let cluster = Cluster::join(bus, &resources.worker).await.map_err(subscribe_error)?;
    start_worker(&resources, &partitions, cluster).await?;
    let (holdings, worker) = (resources.holdings.clone(), resources.worker.clone());
    bus.answer_everywhere(wire::subject::OWNED, move || holdings.report(&worker))
        .await
        .map_err(subscribe_error)?;
    purge::start(&resources, pool);
    settlement::start(&resources);
    front::start(&resources, &sections.limits, partitions.count()).await.map_err(subscribe_error)?;
    serve(bus, &resources).await.map_err(subscribe_error)?;
    bus.introduce(wire::Service::Chat).await.map_err(subscribe_error)
}

/// The actors. When the process drains they hand over what they own, and finish what runs; what waits stays in the queue.
async fn start_worker(
    resources: &Arc<Resources>,
    partitions: &Partitions,
    cluster: Cluster,
) -> Result<(), StartError> {
    let (shared, partitions) = (resources.clone(), partitions.clone());
    let arguments = worker::Arguments { resources: shared, partitions, cluster };
    let (worker, ended) = Actor::spawn(Some("worker".into()), worker::Worker, arguments).await?;
    let drain = resources.drain.clone();
    resources.drain.spawn("chat worker", async move {
        let mut ended = ended;
        tokio::select! {
            _ = &mut ended => {
                tracing::error!("the chat worker has ended: leaving, to be started again");
                return drain.begin();
            }
            () = drain.draining() => {}
        }
        let _ = worker.cast(worker::Message::Drain);
        tokio::select! {
            _ = ended => {}
            () = drain.stop_now() => worker.kill(),
        }
    });
    Ok(())
}

async fn serve(bus: &Bus, resources: &Arc<Resources>) -> Result<(), bus::SubscribeError> {
    Endpoints::new(bus, &Arc::new(Service::new(resources.clone())))
        .guarded(
            operations::CREATE_CONVERSATION,
            |s, caller, _, new| async move { s.create(caller, new).await },
        )
        .await?
        .guarded(operations::LIST_CONVERSATIONS, |s, caller, _, of| async move { s.list(caller, of).await })
        .await?
        .guarded(
            operations::GET_CONVERSATION,
            |s, caller, at, _| async move { s.get(caller, at.id()?).await },
        )
        .await?
        .guarded(operations::UPDATE_CONVERSATION, |s, caller, at, change| async move {
            s.update(caller, at.id()?, change).await
        })
        .await?
        .guarded(operations::DELETE_CONVERSATION, |s, caller, at, _| async move {
            s.delete(caller, at.id()?).await
        })
        .await?
        .guarded(operations::LIST_MESSAGES, |s, caller, at, which| async move {
            s.messages(caller, at.id()?, which).await
        })
        .await?
        .guarded(operations::GET_TURN, |s, caller, at, _| async move { s.turn(caller, at.id()?).await })
        .await?
        .guarded(operations::CANCEL_TURN, |s, caller, at, _| async move { s.cancel(caller, at.id()?).await })
        .await?
        .guarded(operations::FIND_TURN, |s, caller, _, by| async move { s.turn_by_key(caller, by).await })
        .await?
        .guarded(operations::LIST_MODELS, |s, _, _, _| async move { s.models() })
        .await?;
    Ok(())
}

fn subscribe_error(error: bus::SubscribeError) -> StartError {
    StartError::Subscribe(error.to_string())
}
