//! The catalogue of operations, in the order of `subjects.md`, which a test holds equal to it.

use crate::{
    Answer, ApiKey, ApiKeyProof, ChangePassword, ChooseVersion, Conversation, Done, FindTurn, Identity,
    LabelPrompt, ListConversations, ListMessages, ListPage, LogIn, LogOut, Message, Model, NewApiKey,
    NewConversation, NewProject, NewPrompt, Nothing, Operation, OperationInfo, Page, Project, Prompt,
    PromptLabel, PromptVersion, Refresh, RegenerateTurn, Register, RenderPrompt, RenderedPrompt, Scope,
    SendMessage, Service, Session, SessionProof, ShownApiKey, Turn, UnlabelPrompt, UpdateConversation,
    UpdateProject, UpdatePrompt, User, Validity, schema::Description,
};

/// What a row of the catalogue says of API keys.
enum Rights {
    /// No user asks.
    Nobody,
    Read,
    Chat,
    Admin,
}

impl Rights {
    const fn scope(self) -> Option<Scope> {
        match self {
            Self::Nobody => None,
            Self::Read => Some(Scope::Read),
            Self::Chat => Some(Scope::Chat),
            Self::Admin => Some(Scope::Admin),
        }
    }
}

macro_rules! operations {
    ($($service:ident { $($name:ident($request:ty) -> $reply:ty = $pattern:literal, $scope:ident, $summary:literal;)+ })+) => {
        $($(
            #[doc = $summary]
            pub const $name: Operation<$request, $reply> = Operation::new(OperationInfo {
                name: stringify!($name),
                service: Service::$service,
                pattern: $pattern,
                summary: $summary,
                scope: Rights::$scope.scope(),
                request: stringify!($request),
                reply: stringify!($reply),
                request_schema: Description::of::<$request>(),
                reply_schema: Description::of::<$reply>(),
            });
        )+)+

        /// Every operation there is.
        pub const ALL: &[OperationInfo] = &[$($($name.info),+),+];
    };
}

operations! {
    Auth {
        REGISTER(Register) -> User = "omnichat.v1.auth.register", Nobody, "Makes an account.";
        LOG_IN(LogIn) -> Session = "omnichat.v1.auth.login", Nobody, "Opens a session.";
        REFRESH(Refresh) -> Session = "omnichat.v1.auth.refresh", Nobody, "Renews a session.";
        GET_ACCOUNT(Nothing) -> User = "omnichat.v1.u.{user}.account.get", Read, "Shows the caller's account.";
        VALIDATE_ACCOUNT(Nothing) -> Validity = "omnichat.v1.u.{user}.account.validate", Read, "Tells whether the caller's account is active.";
        LOG_OUT(LogOut) -> Done = "omnichat.v1.u.{user}.account.logout", Read, "Ends a session, or all of them.";
        CHANGE_PASSWORD(ChangePassword) -> Done = "omnichat.v1.u.{user}.account.password", Admin, "Changes the caller's password and ends every session.";
        CREATE_API_KEY(NewApiKey) -> ShownApiKey = "omnichat.v1.u.{user}.api_keys.create", Admin, "Makes an API key, and shows it this once.";
        LIST_API_KEYS(ListPage) -> Page<ApiKey> = "omnichat.v1.u.{user}.api_keys.list", Read, "Lists the caller's API keys, oldest first.";
        DELETE_API_KEY(Nothing) -> Done = "omnichat.v1.u.{user}.api_keys.{api_key}.delete", Admin, "Makes an API key useless.";
        CHECK_SESSION(SessionProof) -> Identity = "omnichat.i.auth.session", Nobody, "Tells whether the holder of a good access token is still let in.";
        CHECK_API_KEY(ApiKeyProof) -> Identity = "omnichat.i.auth.key", Nobody, "Tells whose an API key is, and what it may do.";
    }
    Projects {
        CREATE_PROJECT(NewProject) -> Project = "omnichat.v1.u.{user}.projects.create", Admin, "Makes a project.";
        LIST_PROJECTS(ListPage) -> Page<Project> = "omnichat.v1.u.{user}.projects.list", Read, "Lists the caller's projects, oldest first.";
        GET_PROJECT(Nothing) -> Project = "omnichat.v1.u.{user}.projects.{project}.get", Read, "Shows a project.";
        REPLACE_PROJECT(NewProject) -> Project = "omnichat.v1.u.{user}.projects.{project}.replace", Admin, "Replaces the name and description of a project.";
        UPDATE_PROJECT(UpdateProject) -> Project = "omnichat.v1.u.{user}.projects.{project}.update", Admin, "Changes what is given of a project.";
        DELETE_PROJECT(Nothing) -> Done = "omnichat.v1.u.{user}.projects.{project}.delete", Admin, "Deletes a project with its prompts and conversations.";
        CREATE_PROMPT(NewPrompt) -> Prompt = "omnichat.v1.u.{user}.projects.{project}.prompts.create", Admin, "Makes a prompt at version 1.";
        LIST_PROMPTS(ListPage) -> Page<Prompt> = "omnichat.v1.u.{user}.projects.{project}.prompts.list", Read, "Lists the prompts of a project, oldest first.";
        GET_PROMPT(Nothing) -> Prompt = "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.get", Read, "Shows a prompt at its current version.";
        UPDATE_PROMPT(UpdatePrompt) -> Prompt = "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.update", Admin, "Makes the next version of a prompt.";
        DELETE_PROMPT(Nothing) -> Done = "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.delete", Admin, "Deletes a prompt with its versions.";
        LIST_PROMPT_VERSIONS(ListPage) -> Page<PromptVersion> = "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.versions", Read, "Lists the versions of a prompt, newest first.";
        GET_PROMPT_VERSION(ChooseVersion) -> PromptVersion = "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.version", Read, "Shows a version of a prompt.";
        ROLL_BACK_PROMPT(ChooseVersion) -> Prompt = "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.rollback", Admin, "Makes the next version of a prompt with the content of an old one.";
        LIST_PROMPT_LABELS(Nothing) -> Page<PromptLabel> = "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.labels", Read, "Lists the labels of a prompt.";
        LABEL_PROMPT(LabelPrompt) -> PromptLabel = "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.label", Admin, "Puts a label on a version of a prompt.";
        UNLABEL_PROMPT(UnlabelPrompt) -> Done = "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.unlabel", Admin, "Takes a label away.";
        RENDER_PROMPT(RenderPrompt) -> RenderedPrompt = "omnichat.v1.u.{user}.projects.{project}.prompts.{prompt}.render", Read, "Fills in the variables of a prompt.";
    }
    Chat {
        CREATE_CONVERSATION(NewConversation) -> Conversation = "omnichat.v1.u.{user}.conversations.create", Chat, "Starts a conversation.";
        LIST_CONVERSATIONS(ListConversations) -> Page<Conversation> = "omnichat.v1.u.{user}.conversations.list", Read, "Lists the conversations of a project, oldest first.";
        GET_CONVERSATION(Nothing) -> Conversation = "omnichat.v1.u.{user}.conversations.{conversation}.get", Read, "Shows a conversation.";
        UPDATE_CONVERSATION(UpdateConversation) -> Conversation = "omnichat.v1.u.{user}.conversations.{conversation}.update", Chat, "Changes what is given of a conversation.";
        DELETE_CONVERSATION(Nothing) -> Done = "omnichat.v1.u.{user}.conversations.{conversation}.delete", Admin, "Deletes a conversation.";
        LIST_MESSAGES(ListMessages) -> Page<Message> = "omnichat.v1.u.{user}.conversations.{conversation}.messages", Read, "Lists the messages of a conversation, oldest first.";
        SEND_MESSAGE(SendMessage) -> Answer = "omnichat.v1.u.{user}.conversations.{conversation}.send", Chat, "Sends a message; the reply is the turn's outcome.";
        GET_TURN(Nothing) -> Turn = "omnichat.v1.u.{user}.turns.{turn}.get", Read, "Shows a turn.";
        CANCEL_TURN(Nothing) -> Turn = "omnichat.v1.u.{user}.turns.{turn}.cancel", Chat, "Cancels a turn; one that has ended stays as it is.";
        REGENERATE_TURN(RegenerateTurn) -> Turn = "omnichat.v1.u.{user}.turns.{turn}.regenerate", Chat, "Asks for another answer to a turn's question; the reply is the new turn, completed.";
        FIND_TURN(FindTurn) -> Turn = "omnichat.v1.u.{user}.turns.find", Read, "Finds a turn by the key it was sent with.";
        LIST_MODELS(Nothing) -> Page<Model> = "omnichat.v1.u.{user}.models.list", Read, "Lists the models that can be chosen, by their names.";
    }
}
