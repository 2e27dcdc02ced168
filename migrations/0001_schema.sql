-- The whole schema. Each table is written by exactly one service (named above its group); others may read it.
--
-- What happens often is only ever inserted: rows of the hot path (turns, attempts, cancels, outcomes, messages) are facts
-- and never change, so a finished turn cannot be altered, nothing bloats, and statements keep their plans. They carry no
-- foreign keys: six checks per turn cost a third of the database's time, and the one statement that accepts a turn
-- already proves that its conversation exists and belongs to the caller.

create function refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: a recorded fact never changes', tg_table_name using errcode = 'restrict_violation';
end $$;

-- auth ---------------------------------------------------------------------------------------------------------------

create table users (
    id            uuid primary key,
    email         text not null unique check (length(email) between 3 and 255),   -- case-folded by the service
    password_hash text not null,                                                  -- PHC string
    is_active     boolean not null default true,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now()
);

create table refresh_tokens (
    id          uuid primary key,
    user_id     uuid not null references users on delete cascade,
    family_id   uuid not null,
    token_hash  bytea not null unique check (length(token_hash) = 32),            -- SHA-256 of 256 random bits
    expires_at  timestamptz not null,
    replaced_by uuid,
    revoked_at  timestamptz,
    created_at  timestamptz not null default now()
);
create index refresh_tokens_of_user on refresh_tokens (user_id);
create index refresh_tokens_of_family on refresh_tokens (family_id);

create table api_keys (
    id           uuid primary key,
    user_id      uuid not null references users on delete cascade,
    name         text not null,
    prefix       text not null unique,
    secret_hash  bytea not null check (length(secret_hash) = 32),
    scopes       text[] not null,
    expires_at   timestamptz,
    last_used_at timestamptz,
    revoked_at   timestamptz,
    created_at   timestamptz not null default now()
);
create index api_keys_of_user on api_keys (user_id, id);

-- projects -----------------------------------------------------------------------------------------------------------

create table projects (
    id          uuid primary key,
    user_id     uuid not null references users on delete cascade,
    name        text not null check (length(name) between 1 and 255),
    description text check (length(description) <= 1000),
    created_at  timestamptz not null,
    updated_at  timestamptz not null
);
create index projects_of_user on projects (user_id, id);

create table prompts (
    id              uuid primary key,
    project_id      uuid not null references projects on delete cascade,
    name            text not null check (length(name) between 1 and 255),
    current_version integer not null check (current_version >= 1),
    created_at      timestamptz not null,
    updated_at      timestamptz not null
);
create index prompts_of_project on prompts (project_id, id);

create table prompt_versions (
    prompt_id  uuid not null references prompts on delete cascade,
    version    integer not null check (version >= 1),
    content    text not null check (octet_length(content) <= 32768),
    created_at timestamptz not null,
    primary key (prompt_id, version)
);
create trigger prompt_versions_are_facts before update on prompt_versions for each row execute function refuse_change();

create table prompt_labels (
    prompt_id  uuid not null references prompts on delete cascade,
    label      text not null check (length(label) between 1 and 64),
    version    integer not null,
    primary key (prompt_id, label),
    foreign key (prompt_id, version) references prompt_versions
);

-- chat ---------------------------------------------------------------------------------------------------------------

create table conversations (
    id             uuid primary key,
    user_id        uuid not null references users on delete cascade,
    project_id     uuid not null references projects on delete cascade,
    title          text check (length(title) <= 255),
    model          text,
    prompt_id      uuid references prompts on delete set null,
    prompt_version integer,
    prompt_label   text,
    variables      jsonb not null default '{}',
    settings       jsonb not null default '{}',
    created_at     timestamptz not null,
    updated_at     timestamptz not null,
    deleted_at     timestamptz
);
create index conversations_of_project on conversations (project_id, id) where deleted_at is null;

create table turns (
    id              uuid primary key,
    conversation_id uuid not null,
    user_id         uuid not null,
    partition       smallint not null,
    seq             bigint not null check (seq >= 0),
    idempotency_key text check (length(idempotency_key) <= 255),
    body_hash       bytea not null check (length(body_hash) = 32),
    kind            text not null check (kind in ('send', 'regenerate', 'edit')),
    user_message_id uuid not null,
    prompt_version  integer,
    model           text not null,
    settings        jsonb,
    created_at      timestamptz not null,
    unique (conversation_id, seq),
    unique (user_id, idempotency_key)
);
-- Open turns are looked for among the recent ones: a block-range index, which an insert hardly pays for.
create index turns_recent on turns using brin (created_at) with (pages_per_range = 16, autosummarize = on);
create trigger turns_are_facts before update on turns for each row execute function refuse_change();

-- Attempt 1 is the turn itself; a repeated call to the provider is recorded before it is made.
create table attempts (
    turn_id    uuid not null,
    number     smallint not null check (number between 2 and 3),
    worker     text not null,
    started_at timestamptz not null,
    primary key (turn_id, number)
);
create trigger attempts_are_facts before update on attempts for each row execute function refuse_change();

create table cancels (
    turn_id    uuid primary key,
    created_at timestamptz not null
);
create trigger cancels_are_facts before update on cancels for each row execute function refuse_change();

-- The primary key is the promise: a turn has exactly one outcome.
create table outcomes (
    turn_id              uuid primary key,
    status               text not null check (status in ('completed', 'failed', 'cancelled')),
    assistant_message_id uuid,
    finish_reason        text,
    provider             text,
    model                text,
    prompt_tokens        integer,
    completion_tokens    integer,
    cost_micros          bigint,
    fault_code           text,
    fault_message        text,
    timings              jsonb,
    finished_at          timestamptz not null,
    check ((status = 'completed') = (fault_code is null and assistant_message_id is not null) or status = 'cancelled')
);
create trigger outcomes_are_facts before update on outcomes for each row execute function refuse_change();

-- An assistant's message has the id of its turn: known at accept, so that a queued follow-up can name its parent, and one
-- answer per turn by the primary key alone.
create table messages (
    id              uuid primary key,
    conversation_id uuid not null,
    parent_id       uuid,
    turn_id         uuid not null,
    seq             bigint not null,
    role            text not null check (role in ('user', 'assistant')),
    content         text not null,
    created_at      timestamptz not null,
    check (role <> 'assistant' or id = turn_id)
);
create trigger messages_are_facts before update on messages for each row execute function refuse_change();

-- Who owns a partition: the truth, and the fence of every write of a turn.
create table partition_owner (
    partition smallint primary key,
    epoch     bigint not null check (epoch >= 1),
    worker    text not null,
    taken_at  timestamptz not null
);
