"""The compact nowcaster: an Earthformer in the frame of the moving rain, with exceedance probabilities as output."""
