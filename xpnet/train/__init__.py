"""How a network learns.

- `step`, `replays`: one update, and how it is replayed
- `cost`: what an update goes down
- `factors`: rates and decay of single parameters
- `step_scalars`: what changes from step to step
- `member_numbers`: what members have of their own
- `accumulation`: a batch's gradient in several passes
- `member_steps`: steps in which members have different numbers of examples
- `fit_data`, `parts`: what a fit is made on, and what is measured after each epoch
- `metrics`, `measures`: figures of predictions, which a search and early stopping may go by
- `trainer`, `settings`: what makes the steps, and what they are set to
- `batch_size`: how many examples a step is made with, as it is measured
- `given_batch`, `requests`: a batch for a step that a user gives; what is asked of a running fit
- `fit`, `fit_state`: epochs of steps, and where they stand
- `history`: what is told of it
- `callback`, `callbacks`, `time_limit`: what may watch it
- `member_ends`, `freezing`: how members end before others, and stay as they are then
- `replacing`: members taken out, and other networks put in their places
- `member_averages`: averages of the weights of members that make different numbers of steps
- `rollback`, `recovery`, `divergence`: what happens when the loss is not finite
- `checkpoints`, `checkpoint_manager`, `run_description`: how a fit goes on in another process
"""
