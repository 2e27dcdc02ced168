-- A conversation keeps the prompt it was told to open with, also when that is deleted: its turns then fail, instead of running
-- without. A turn records which prompt opened it, as a conversation may be told another one.
alter table conversations drop constraint conversations_prompt_id_fkey;
alter table turns add column prompt_id uuid;

-- Whoever deletes a conversation's row (its project, its user, the purge itself), its turns are found here and removed later.
create table deleted_conversations (
    id         uuid primary key,
    deleted_at timestamptz not null
);
create index deleted_conversations_by_age on deleted_conversations (deleted_at);

create function remember_deleted_conversations() returns trigger language plpgsql as $$
begin
    insert into deleted_conversations (id, deleted_at)
    select id, coalesce(deleted_at, now()) from gone
    on conflict do nothing;
    return null;
end $$;
create trigger conversations_leave_a_trace after delete on conversations
    referencing old table as gone for each statement execute function remember_deleted_conversations();

-- Deleting a project or a user looks for all of their conversations, deleted ones too.
drop index conversations_of_project;
create index conversations_of_project on conversations (project_id, id);
create index conversations_of_user on conversations (user_id);
create index conversations_deleted on conversations (deleted_at) where deleted_at is not null;
