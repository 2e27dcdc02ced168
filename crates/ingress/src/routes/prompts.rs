//! Prompts of a project, their versions and labels.

use bytes::Bytes;
use http::Uri;
use wire::{
    ChooseVersion, Encoding, Fault, FaultCode, ProjectId, PromptId,
    operations::{
        CREATE_PROMPT, DELETE_PROMPT, GET_PROMPT, GET_PROMPT_VERSION, LABEL_PROMPT, LIST_PROMPT_LABELS,
        LIST_PROMPT_VERSIONS, LIST_PROMPTS, RENDER_PROMPT, ROLL_BACK_PROMPT, UNLABEL_PROMPT, UPDATE_PROMPT,
    },
};

use crate::{
    address::{PathId, PathText, page_as_body},
    answer::Answer,
    body::JsonBody,
    caller::Caller,
};

type InProject = PathId<ProjectId>;
type OfPrompt = PathId<PromptId>;

pub(crate) async fn create(caller: Caller, PathId(project): InProject, JsonBody(body): JsonBody) -> Answer {
    caller.ask(&CREATE_PROMPT, &[&project], body).await
}

pub(crate) async fn list(caller: Caller, PathId(project): InProject, uri: Uri) -> Answer {
    caller.ask(&LIST_PROMPTS, &[&project], page_as_body(&uri)?).await
}

pub(crate) async fn get(caller: Caller, PathId(project): InProject, PathId(prompt): OfPrompt) -> Answer {
    caller.ask(&GET_PROMPT, &[&project, &prompt], Bytes::new()).await
}

pub(crate) async fn update(
    caller: Caller,
    PathId(project): InProject,
    PathId(prompt): OfPrompt,
    JsonBody(body): JsonBody,
) -> Answer {
    caller.ask(&UPDATE_PROMPT, &[&project, &prompt], body).await
}

pub(crate) async fn delete(caller: Caller, PathId(project): InProject, PathId(prompt): OfPrompt) -> Answer {
    caller.ask(&DELETE_PROMPT, &[&project, &prompt], Bytes::new()).await
}

pub(crate) async fn versions(
    caller: Caller,
    PathId(project): InProject,
    PathId(prompt): OfPrompt,
    uri: Uri,
) -> Answer {
    caller.ask(&LIST_PROMPT_VERSIONS, &[&project, &prompt], page_as_body(&uri)?).await
}

/// What is no number is no version.
pub(crate) async fn version(
    caller: Caller,
    PathId(project): InProject,
    PathId(prompt): OfPrompt,
    PathText(version): PathText,
) -> Answer {
    let version: i32 = version.parse().map_err(|_| FaultCode::PromptNotFound)?;
    caller.ask(&GET_PROMPT_VERSION, &[&project, &prompt], body(&ChooseVersion { version })?).await
}

pub(crate) async fn roll_back(
    caller: Caller,
    PathId(project): InProject,
    PathId(prompt): OfPrompt,
    JsonBody(body): JsonBody,
) -> Answer {
    caller.ask(&ROLL_BACK_PROMPT, &[&project, &prompt], body).await
}

pub(crate) async fn labels(caller: Caller, PathId(project): InProject, PathId(prompt): OfPrompt) -> Answer {
    caller.ask(&LIST_PROMPT_LABELS, &[&project, &prompt], Bytes::new()).await
}

/// The label stands in the address, its version in the body.
pub(crate) async fn label(
    caller: Caller,
    PathId(project): InProject,
    PathId(prompt): OfPrompt,
    PathText(label): PathText,
    JsonBody(given): JsonBody,
) -> Answer {
    let ChooseVersion { version } = Encoding::Json.decode(&given)?;
    let request = body(&wire::LabelPrompt { label, version })?;
    caller.ask(&LABEL_PROMPT, &[&project, &prompt], request).await
}

pub(crate) async fn unlabel(
    caller: Caller,
    PathId(project): InProject,
    PathId(prompt): OfPrompt,
    PathText(label): PathText,
) -> Answer {
    caller.ask(&UNLABEL_PROMPT, &[&project, &prompt], body(&wire::UnlabelPrompt { label })?).await
}

pub(crate) async fn render(
    caller: Caller,
    PathId(project): InProject,
    PathId(prompt): OfPrompt,
    JsonBody(body): JsonBody,
) -> Answer {
    caller.ask(&RENDER_PROMPT, &[&project, &prompt], body).await
}

fn body(request: &impl serde::Serialize) -> Result<Bytes, Fault> {
    Encoding::Json.encode(request).map(Into::into).map_err(|_| FaultCode::Internal.into())
}
