//! git.

use super::on_mount;

/// semantics 1.1: clone, commit, merge, repack, garbage collection and checks, with lock files and renames all the way.
#[test]
fn git_repositories_live_here() {
    let script = r#"
        export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=$M/.gitconfig GIT_TERMINAL_PROMPT=0
        git config --global user.name it; git config --global user.email it@example.org
        git config --global init.defaultBranch main; git config --global gc.autoDetach false
        git init --bare origin.git
        git clone origin.git first; cd first
        for i in $(seq 1 30); do
            mkdir -p "dir$((i % 5))"; seq "$i" "$((i * 50))" > "dir$((i % 5))/file$i"; ln -sf "file$i" "dir$((i % 5))/last"
            git add -A; git commit -q -m "commit $i"
        done
        chmod +x dir0/file5; git commit -q -am 'mode'
        git push origin main; cd ..
        git clone --local origin.git second; git clone --no-local "file://$M/origin.git" third
        cd second; git checkout -q -b side HEAD~10; echo side > side; git add side; git commit -q -m side
        git merge -q --no-edit main; git rebase -q main; git push -q origin side
        git tag -a -m one v1; git worktree add ../tree v1; git stash list
        git repack -a -d -f; git gc --prune=now --aggressive; git fsck --full --strict
        cd ../third; git pull -q --no-edit; git fetch origin side; git merge -q FETCH_HEAD
        git gc --prune=now; git fsck --full --strict
        test "$(git rev-parse HEAD^{tree})" = "$(cd ../second; git rev-parse HEAD^{tree})"
        # What is checked out is what is committed, and git's cached stat data says so.
        test -z "$(git status --porcelain)"; test -z "$(cd ../tree; git status --porcelain)"
        git diff-files --quiet
        git archive HEAD | tar -x -C "$(mktemp -d)"
        cd ../origin.git; git gc --prune=now; git fsck --full --strict
        fails grep . <(find "$M" -name '*.lock')
    "#;
    on_mount(&[("git", "git"), ("tar", "tar")], script);
}
