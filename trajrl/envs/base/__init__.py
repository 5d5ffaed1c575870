"""What every suite shares: the protocol, wrappers, reference scores, processes of their own."""
