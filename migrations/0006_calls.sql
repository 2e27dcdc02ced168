-- What is known of calls to providers beyond the one that gave a turn its answer, of which the turn's outcome tells: those that
-- failed, were stopped or were lost, and those whose usage the provider did not count at once. Of a call there is a row from each
-- who knows something: who made it (caller); who went on with the turn and knows only that it may have been made (successor); and
-- the provider, asked later (provider). The last of these that there is counts.
create table calls (
    turn_id           uuid not null,
    number            smallint not null check (number between 1 and 3),
    told_by           text not null check (told_by in ('caller', 'successor', 'provider')),
    status            text not null check (status in ('completed', 'failed', 'stopped', 'unknown')),
    fault_code        text,
    provider          text,
    model             text,
    generation_id     text,
    prompt_tokens     integer check (prompt_tokens >= 0),
    completion_tokens integer check (completion_tokens >= 0),
    estimated         boolean not null,
    cost_micros       bigint check (cost_micros >= 0),
    timings           jsonb,
    created_at        timestamptz not null,
    primary key (turn_id, number, told_by)
);
create index calls_to_settle on calls (created_at) where estimated and told_by <> 'provider';
create trigger calls_are_facts before update on calls for each row execute function refuse_change();

-- What a provider calls a call, kept before the answer is read: whatever happens to us then, it can be asked what it cost.
create table generations (
    turn_id       uuid not null,
    number        smallint not null check (number between 1 and 3),
    provider      text not null,
    generation_id text not null check (length(generation_id) <= 200),
    created_at    timestamptz not null,
    primary key (turn_id, number)
);
create trigger generations_are_facts before update on generations for each row execute function refuse_change();

-- The call that gave the answer; and whether NUL characters in it were replaced.
alter table outcomes add column attempt smallint check (attempt between 1 and 3);
alter table outcomes add column altered boolean;
