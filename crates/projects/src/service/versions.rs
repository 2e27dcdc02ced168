//! Versions and labels of prompts, and prompts filled in.

use identity::Principal;
use uuid::Uuid;
use wire::{
    ChooseVersion, Done, LabelPrompt, List, ListPage, Page, ProjectId, Prompt, PromptId, PromptLabel,
    PromptVersion, RenderPrompt, RenderedPrompt, UnlabelPrompt, operations::LIST_PROMPT_VERSIONS, template,
};

use super::{Projects, done, page_of};
use crate::Error;

/// Labels that a prompt may have.
const LABELS_MAX: i64 = 50;

impl Projects {
    /// The versions of a prompt, newest first.
    pub async fn list_versions(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
        page: ListPage,
    ) -> Result<Page<PromptVersion>, Error> {
        let list = List::new(caller.user(), &LIST_PROMPT_VERSIONS.info, &[&project, &id]);
        let before = list.position(&page)?.map(|position| position.as_u128() as i32);
        let rows = self.store.versions(caller, project, id, before, page.limit().into()).await?;
        if rows.entries.is_empty() && before.is_none() {
            return Err(self.missing_prompt(caller, project).await);
        }
        Ok(page_of(rows, &list, |version| Uuid::from_u128(version.version.unsigned_abs().into())))
    }

    /// One version of a prompt.
    pub async fn get_version(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
        ChooseVersion { version }: ChooseVersion,
    ) -> Result<PromptVersion, Error> {
        match self.store.version(caller, project, id, Some(version), None).await? {
            Some(version) => Ok(version),
            None => Err(self.missing_prompt(caller, project).await),
        }
    }

    /// Makes the next version of a prompt with the content of an old one.
    pub async fn roll_back(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
        ChooseVersion { version }: ChooseVersion,
    ) -> Result<Prompt, Error> {
        match self.store.roll_back(caller, project, id, version).await? {
            Some(prompt) => Ok(prompt),
            None => Err(self.missing_prompt(caller, project).await),
        }
    }

    /// The labels of a prompt.
    pub async fn list_labels(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
    ) -> Result<Page<PromptLabel>, Error> {
        let labels = self.store.labels(caller, project, id).await?;
        if labels.is_empty() {
            self.get_prompt(caller, project, id).await?;
        }
        Ok(Page::whole(labels))
    }

    /// Puts a label on a version of a prompt, and takes it from the one that had it.
    pub async fn label(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
        label: LabelPrompt,
    ) -> Result<PromptLabel, Error> {
        if self.store.set_label(caller, project, id, &label, LABELS_MAX).await? {
            return Ok(PromptLabel { prompt_id: id, label: label.label, version: label.version });
        }
        self.get_version(caller, project, id, ChooseVersion { version: label.version }).await?;
        Err(Error::TooManyLabels)
    }

    /// Takes a label away.
    pub async fn unlabel(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
        UnlabelPrompt { label }: UnlabelPrompt,
    ) -> Result<Done, Error> {
        if self.store.remove_label(caller, project, id, &label).await? {
            return Ok(done("Label deleted successfully"));
        }
        Err(self.missing_prompt(caller, project).await)
    }

    /// Fills in the variables of a prompt.
    pub async fn render(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
        request: RenderPrompt,
    ) -> Result<RenderedPrompt, Error> {
        let RenderPrompt { variables, version, label } = request;
        let found = self.store.version(caller, project, id, version, label.as_deref()).await?;
        let Some(found) = found else { return Err(self.missing_prompt(caller, project).await) };
        let content = template::render(&found.content, &variables.unwrap_or_default())?;
        Ok(RenderedPrompt { content, version: found.version })
    }
}
