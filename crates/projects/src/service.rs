//! The rules of projects and prompts: one method per request. What belongs to somebody else is not found, like what does
//! not exist.

mod versions;

use host::postgres::Pool;
use identity::Principal;
use uuid::Uuid;
use wire::{
    Done, List, ListPage, NewProject, NewPrompt, Page, Project, ProjectId, Prompt, PromptId, UpdateProject,
    UpdatePrompt,
    operations::{LIST_PROJECTS, LIST_PROMPTS},
};

use crate::{
    Error, model,
    store::{Changed, Rows, Store},
};

/// Keeps projects and prompts.
pub struct Projects {
    store: Store,
}

impl Projects {
    /// Keeps them in this database.
    pub fn new(pool: Pool) -> Self {
        Self { store: Store::new(pool) }
    }

    /// Makes a project.
    pub async fn create_project(&self, caller: Principal, new: NewProject) -> Result<Project, Error> {
        let project = model::begin_project(caller, new);
        self.store.insert_project(caller, &project).await?;
        Ok(project)
    }

    /// The caller's projects, oldest first.
    pub async fn list_projects(&self, caller: Principal, page: ListPage) -> Result<Page<Project>, Error> {
        let list = List::new(caller.user(), &LIST_PROJECTS.info, &[]);
        let rows = self.store.projects(caller, list.position(&page)?, page.limit().into()).await?;
        Ok(page_of(rows, &list, |project| project.id.uuid()))
    }

    /// A project.
    pub async fn get_project(&self, caller: Principal, id: ProjectId) -> Result<Project, Error> {
        self.store.project(caller, id).await?.ok_or(Error::ProjectNotFound)
    }

    /// Replaces all that can be changed of a project.
    pub async fn replace_project(
        &self,
        caller: Principal,
        id: ProjectId,
        new: NewProject,
    ) -> Result<Project, Error> {
        self.update_project(caller, id, model::replacement(new)).await
    }

    /// Changes what is given of a project.
    pub async fn update_project(
        &self,
        caller: Principal,
        id: ProjectId,
        changes: UpdateProject,
    ) -> Result<Project, Error> {
        self.store.update_project(caller, id, changes).await?.ok_or(Error::ProjectNotFound)
    }

    /// Deletes a project with its prompts and conversations.
    pub async fn delete_project(&self, caller: Principal, id: ProjectId) -> Result<Done, Error> {
        if self.store.delete_project(caller, id).await? {
            Ok(done("Project deleted successfully"))
        } else {
            Err(Error::ProjectNotFound)
        }
    }

    /// Makes a prompt, at version 1.
    pub async fn create_prompt(
        &self,
        caller: Principal,
        project: ProjectId,
        new: NewPrompt,
    ) -> Result<Prompt, Error> {
        let prompt = model::begin_prompt(project, new);
        if self.store.insert_prompt(caller, &prompt).await? {
            Ok(prompt)
        } else {
            Err(Error::ProjectNotFound)
        }
    }

    /// The prompts of a project at their current versions, oldest first.
    pub async fn list_prompts(
        &self,
        caller: Principal,
        project: ProjectId,
        page: ListPage,
    ) -> Result<Page<Prompt>, Error> {
        let list = List::new(caller.user(), &LIST_PROMPTS.info, &[&project]);
        let rows = self.store.prompts(caller, project, list.position(&page)?, page.limit().into()).await?;
        if rows.entries.is_empty() {
            self.get_project(caller, project).await?;
        }
        Ok(page_of(rows, &list, |prompt| prompt.id.uuid()))
    }

    /// A prompt at its current version.
    pub async fn get_prompt(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
    ) -> Result<Prompt, Error> {
        match self.store.prompt(caller, project, id).await? {
            Some(prompt) => Ok(prompt),
            None => Err(self.missing_prompt(caller, project).await),
        }
    }

    /// Changes a prompt. Content makes the next version, even if it is the same as before; a name alone makes none.
    pub async fn update_prompt(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
        changes: UpdatePrompt,
    ) -> Result<Prompt, Error> {
        let wanted = changes.if_version;
        if changes.content.is_some() {
            if let Changed::To(prompt) = self.store.add_version(caller, project, id, changes).await? {
                return Ok(prompt);
            }
        } else if changes.name.is_some() {
            self.store.rename_prompt(caller, project, id, &changes).await?;
        }
        let prompt = self.get_prompt(caller, project, id).await?;
        if wanted.is_some_and(|wanted| wanted != prompt.version) {
            return Err(Error::VersionConflict(prompt.version));
        }
        Ok(prompt)
    }

    /// Deletes a prompt with its versions.
    pub async fn delete_prompt(
        &self,
        caller: Principal,
        project: ProjectId,
        id: PromptId,
    ) -> Result<Done, Error> {
        if self.store.delete_prompt(caller, project, id).await? {
            Ok(done("Prompt deleted successfully"))
        } else {
            Err(self.missing_prompt(caller, project).await)
        }
    }

    /// Which of the two is not there.
    async fn missing_prompt(&self, caller: Principal, project: ProjectId) -> Error {
        self.get_project(caller, project).await.err().unwrap_or(Error::PromptNotFound)
    }
}

/// The page of what a query found.
fn page_of<T>(rows: Rows<T>, list: &List, position: impl Fn(&T) -> Uuid) -> Page<T> {
    let last = rows.entries.last().filter(|_| rows.more).map(position);
    Page { next: last.map(|last| list.cursor(last)), entries: rows.entries }
}

fn done(message: &str) -> Done {
    Done { message: message.into() }
}
