//! Prompts of a project.

use bytes::Bytes;
use wire::{
    ProjectId, PromptId,
    operations::{CREATE_PROMPT, DELETE_PROMPT, GET_PROMPT, LIST_PROMPTS, UPDATE_PROMPT},
};

use crate::{address::PathId, answer::Answer, body::JsonBody, caller::Caller};

pub(crate) async fn create(
    caller: Caller,
    PathId(project): PathId<ProjectId>,
    JsonBody(body): JsonBody,
) -> Answer {
    caller.ask(&CREATE_PROMPT, &[&project], body).await
}

pub(crate) async fn list(caller: Caller, PathId(project): PathId<ProjectId>) -> Answer {
    caller.ask(&LIST_PROMPTS, &[&project], Bytes::new()).await
}

pub(crate) async fn get(
    caller: Caller,
    PathId(project): PathId<ProjectId>,
    PathId(prompt): PathId<PromptId>,
) -> Answer {
    caller.ask(&GET_PROMPT, &[&project, &prompt], Bytes::new()).await
}

pub(crate) async fn update(
    caller: Caller,
    PathId(project): PathId<ProjectId>,
    PathId(prompt): PathId<PromptId>,
    JsonBody(body): JsonBody,
) -> Answer {
    caller.ask(&UPDATE_PROMPT, &[&project, &prompt], body).await
}

pub(crate) async fn delete(
    caller: Caller,
    PathId(project): PathId<ProjectId>,
    PathId(prompt): PathId<PromptId>,
) -> Answer {
    caller.ask(&DELETE_PROMPT, &[&project, &prompt], Bytes::new()).await
}
