//! What reaches the services, and what comes back. Tests play the services themselves, over the same bus.

use std::{num::NonZeroU32, sync::Arc};

use bus::{Endpoints, Incoming};
use identity::Principal;
use tokio::sync::mpsc;
use wire::{
    Answer, ConversationId, Done, Fault, FaultCode, FindTurn, ListConversations, ListMessages, Message,
    MessageId, NewConversation, NewProject, Nothing, Path, ProjectId, Role, Turn, TurnId, TurnKind,
    TurnStatus, operations,
};

use crate::world::{World, config, subscribed};

/// What a test sees of a request.
type Seen = mpsc::Receiver<Incoming>;

/// Answers `operation` with what `reply` makes of each request, which the test sees as well.
async fn play<Q, R: wire::Reply + Send + Sync + 'static>(
    world: &World,
    operation: wire::Operation<Q, R>,
    reply: impl Fn(&Incoming) -> Option<Result<R, Fault>> + Send + Sync + 'static,
) -> Seen {
    let bus = world.service().await;
    let (seen, sees) = mpsc::channel(16);
    let (reply, answering) = (Arc::new(reply), bus.clone());
    let take = move |incoming: Incoming| {
        let (bus, reply, seen) = (answering.clone(), reply.clone(), seen.clone());
        async move {
            match reply(&incoming) {
                Some(Ok(value)) => bus.reply(&incoming.reply_to, &value).await,
                Some(Err(fault)) => bus.reply_fault(&incoming.reply_to, &fault, &incoming.context).await,
                None => {}
            }
            seen.send(incoming).await.unwrap();
        }
    };
    bus.subscribe_operation(&operation.info, take).await.unwrap();
    subscribed(&bus).await;
    sees
}

fn refuse<R>(_: &Incoming) -> Option<Result<R, Fault>> {
    Some(Err(FaultCode::ProjectNotFound.into()))
}

fn answer(turn: TurnId, conversation: ConversationId) -> Answer {
    let message = Message {
        id: MessageId::answer_to(turn),
        conversation_id: conversation,
        parent_id: None,
        turn_id: turn,
        seq: 1,
        role: Role::Assistant,
        content: "hi".into(),
        images: Vec::new(),
        created_at: wire::now(),
    };
    Answer {
        message_id: message.id,
        response: message.content.clone(),
        created_at: message.created_at,
        turn_id: turn,
        message,
        usage: None,
        finish_reason: "stop".into(),
        truncated: false,
        altered: false,
        model: "m".into(),
    }
}

pub fn turn(id: TurnId, status: TurnStatus) -> Turn {
    Turn {
        id,
        conversation_id: ConversationId::new(),
        kind: TurnKind::Send,
        status,
        queue_position: None,
        wait_ms: None,
        attempt: 1,
        seq: 0,
        idempotency_key: None,
        model: "m".into(),
        prompt_id: None,
        prompt_version: None,
        created_at: wire::now(),
        finished_at: None,
        usage: None,
        finish_reason: None,
        altered: None,
        answered_by: None,
        fault: None,
        partial: None,
        cost_micros: None,
        calls: Vec::new(),
        messages: Vec::new(),
    }
}

/// A send is given up after a second.
async fn hurried() -> World {
    World::with(ingress::Config { answer_timeout_s: NonZeroU32::MIN, ..config() }).await
}

#[tokio::test]
async fn a_missing_thing_is_answered_like_what_is_no_id_at_all() {
    let world = World::new().await;
    let bus = world.service().await;
    let nobody = |_, _: Principal, path: Path, _: Nothing| async move {
        path.id::<ProjectId>()?;
        Err::<Done, Fault>(FaultCode::ProjectNotFound.into())
    };
    Endpoints::new(&bus, &Arc::new(())).guarded(operations::DELETE_PROJECT, nobody).await.unwrap();
    subscribed(&bus).await;
    let ask = |id: String| {
        world.ask(world.request("DELETE", &format!("/projects/{id}")).header("x-request-id", "r"), "")
    };
    let (missing, garbage) = (ask(ProjectId::new().to_string()).await, ask("x".into()).await);
    assert_eq!(missing.fault(), (404, "project_not_found".to_owned()));
    assert_eq!(missing.body, garbage.body);
    let lasting = |answer: &crate::world::Answer| {
        let mut headers = answer.headers.clone();
        for differs in ["date", "traceparent"] {
            headers.remove(differs);
        }
        headers
    };
    assert_eq!(lasting(&missing), lasting(&garbage));
}

#[tokio::test]
async fn a_request_goes_out_as_it_came_in() {
    let world = World::new().await;
    let mut seen = play(&world, operations::REPLACE_PROJECT, |incoming| {
        let body = incoming.decode::<NewProject>();
        Some(body.and(Err(Fault::new(FaultCode::Overloaded).retry_after(7))))
    })
    .await;
    let (project, body) = (ProjectId::new(), r#"{ "name" : "n\u0061me" }"#);
    let path = format!("/projects/{}", project.to_string().to_uppercase());
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request =
        world.request("PUT", &path).header("content-type", "application/json").header("traceparent", trace);
    let answer = world.ask(request, body).await;

    assert_eq!(answer.fault(), (503, "overloaded".to_owned()));
    assert_eq!(answer.header("retry-after"), "7");
    let incoming = seen.recv().await.unwrap();
    assert_eq!(incoming.body, body);
    assert_eq!(incoming.caller.unwrap().user(), world.user);
    assert_eq!(incoming.path.id::<ProjectId>().unwrap(), project);
    assert_eq!(incoming.context.request_id, answer.header("x-request-id"));
    assert_eq!(incoming.context.traceparent.as_deref(), Some(trace));
    assert!(incoming.idempotency_key().unwrap().is_none());
}

#[tokio::test]
async fn what_stands_in_the_address_becomes_a_body() {
    let world = World::new().await;
    let mut created = play(&world, operations::CREATE_CONVERSATION, refuse).await;
    let mut listed = play(&world, operations::LIST_CONVERSATIONS, refuse).await;
    let mut messages = play(&world, operations::LIST_MESSAGES, refuse).await;
    let project = ProjectId::new();

    world.ask(world.request("POST", &format!("/conversations?project_id={project}")), "").await;
    assert_eq!(created.recv().await.unwrap().decode::<NewConversation>().unwrap().project_id, project);
    world.ask_json("POST", "/conversations?project_id=x", &format!(r#"{{"project_id":"{project}"}}"#)).await;
    assert_eq!(created.recv().await.unwrap().decode::<NewConversation>().unwrap().project_id, project);
    world.ask(world.request("GET", &format!("/conversations/project/{project}")), "").await;
    assert_eq!(listed.recv().await.unwrap().decode::<ListConversations>().unwrap().project_id, project);
    for (query, branch) in [("", None), ("?branch=all", Some(wire::Branch::All))] {
        world.ask(world.request("GET", &format!("/conversations/{project}/messages{query}")), "").await;
        assert_eq!(messages.recv().await.unwrap().decode::<ListMessages>().unwrap().branch, branch);
    }
}

#[tokio::test]
async fn a_send_has_the_clients_key_or_one_of_its_own() {
    let world = World::new().await;
    let (turn, conversation) = (TurnId::new(), ConversationId::new());
    let mut seen =
        play(&world, operations::SEND_MESSAGE, move |_| Some(Ok(answer(turn, conversation)))).await;
    let path = format!("/conversations/{conversation}/messages");
    let send = |request: http::request::Builder| {
        world.ask(request.header("content-type", "application/json"), r#"{"content":"hi"}"#)
    };
    let answer = send(world.request("POST", &path).header("idempotency-key", "\"k1\"")).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.json()["turn_id"], turn.to_string());
    assert_eq!(seen.recv().await.unwrap().idempotency_key().unwrap().as_deref(), Some("k1"));
    let mut made = Vec::new();
    for _ in 0..2 {
        send(world.request("POST", &path)).await;
        made.push(seen.recv().await.unwrap().idempotency_key().unwrap().unwrap());
    }
    assert!(made[0].len() == 36 && made[0] != made[1]);
}

#[tokio::test]
async fn a_turn_that_runs_on_is_named() {
    let world = hurried().await;
    let (id, path) = (TurnId::new(), format!("/conversations/{}/messages", ConversationId::new()));
    let _sends = play(&world, operations::SEND_MESSAGE, |_| None).await;
    let mut finds =
        play(&world, operations::FIND_TURN, move |_| Some(Ok(turn(id, TurnStatus::Running)))).await;
    let request = world
        .request("POST", &path)
        .header("idempotency-key", "k1")
        .header("content-type", "application/json");
    let answer = world.ask(request, r#"{"content":"hi"}"#).await;
    assert_eq!(answer.fault(), (504, "answer_pending".to_owned()));
    assert_eq!(answer.json()["turn_id"], id.to_string());
    assert_eq!(finds.recv().await.unwrap().decode::<FindTurn>().unwrap().idempotency_key, "k1");
}

#[tokio::test]
async fn a_turn_that_nobody_knows_yet_is_pending_without_a_name() {
    let world = hurried().await;
    let path = format!("/conversations/{}/messages", ConversationId::new());
    let _sends = play(&world, operations::SEND_MESSAGE, |_| None).await;
    let _finds = play(&world, operations::FIND_TURN, |_| Some(Err(FaultCode::TurnNotFound.into()))).await;
    let answer = world.ask_json("POST", &path, r#"{"content":"hi"}"#).await;
    assert_eq!(answer.fault(), (504, "answer_pending".to_owned()));
    assert!(answer.json().get("turn_id").is_none());
}

#[tokio::test]
async fn an_answer_that_got_lost_is_fetched_with_the_same_key() {
    let world = hurried().await;
    let (id, conversation) = (TurnId::new(), ConversationId::new());
    let asked = std::sync::atomic::AtomicBool::new(false);
    let mut sends = play(&world, operations::SEND_MESSAGE, move |_| {
        let again = asked.swap(true, std::sync::atomic::Ordering::Relaxed);
        again.then(|| Ok(answer(id, conversation)))
    })
    .await;
    let _finds =
        play(&world, operations::FIND_TURN, move |_| Some(Ok(turn(id, TurnStatus::Completed)))).await;
    let answer = world
        .ask_json("POST", &format!("/conversations/{conversation}/messages"), r#"{"content":"hi"}"#)
        .await;
    assert_eq!((answer.status.as_u16(), answer.json()["response"].as_str()), (200, Some("hi")));
    let (first, second) = (sends.recv().await.unwrap(), sends.recv().await.unwrap());
    assert_eq!(first.body, second.body);
    assert_eq!(first.idempotency_key().unwrap(), second.idempotency_key().unwrap());
}

#[tokio::test]
async fn a_silent_service_is_unavailable_after_the_timeout() {
    let world = World::with(ingress::Config { request_timeout_s: NonZeroU32::MIN, ..config() }).await;
    let _asked = play(&world, operations::LIST_PROJECTS, |_| None).await;
    let answer = world.ask(world.request("GET", "/projects"), "").await;
    assert_eq!(answer.fault(), (503, "unavailable".to_owned()));
    assert_eq!(answer.header("retry-after"), "1");
}
