# Managed by Ansible
# This release's sshd can't end idle shells itself (ChannelTimeout). Commands have no interactive shell, and are not affected.
case $- in
    *i*)
        if [ -n "${SSH_CONNECTION:-}" ]; then
            TMOUT=900
            export TMOUT
        fi
        ;;
esac
