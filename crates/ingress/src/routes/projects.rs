//! Projects.

use bytes::Bytes;
use http::Uri;
use wire::{
    ProjectId,
    operations::{
        CREATE_PROJECT, DELETE_PROJECT, GET_PROJECT, LIST_PROJECTS, REPLACE_PROJECT, UPDATE_PROJECT,
    },
};

use crate::{
    address::{PathId, page_as_body},
    answer::Answer,
    body::JsonBody,
    caller::Caller,
};

pub(crate) async fn create(caller: Caller, JsonBody(body): JsonBody) -> Answer {
    caller.ask(&CREATE_PROJECT, &[], body).await
}

pub(crate) async fn list(caller: Caller, uri: Uri) -> Answer {
    caller.ask(&LIST_PROJECTS, &[], page_as_body(&uri)?).await
}

pub(crate) async fn get(caller: Caller, PathId(project): PathId<ProjectId>) -> Answer {
    caller.ask(&GET_PROJECT, &[&project], Bytes::new()).await
}

pub(crate) async fn replace(
    caller: Caller,
    PathId(project): PathId<ProjectId>,
    JsonBody(body): JsonBody,
) -> Answer {
    caller.ask(&REPLACE_PROJECT, &[&project], body).await
}

pub(crate) async fn update(
    caller: Caller,
    PathId(project): PathId<ProjectId>,
    JsonBody(body): JsonBody,
) -> Answer {
    caller.ask(&UPDATE_PROJECT, &[&project], body).await
}

pub(crate) async fn delete(caller: Caller, PathId(project): PathId<ProjectId>) -> Answer {
    caller.ask(&DELETE_PROJECT, &[&project], Bytes::new()).await
}
